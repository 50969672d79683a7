"""The page of prerequisites: what it prints is what comes out, in all three frameworks."""

import doctest


def test_what_the_page_prints_is_what_comes_out(repository):
    page = repository / "docs" / "prerequisites.md"
    run = doctest.testfile(str(page), module_relative=False)
    assert run.failed == 0
    text = page.read_text(encoding="utf-8")
    assert run.attempted == text.count("\n>>> ") > 30
    sections = text.split("\n## ")[1:]
    assert [section.count("<summary>An answer") for section in sections] == [1, 1, 1]
    for section in sections:
        assert all(f"{name}." in section for name in ("torch", "tf", "keras"))
