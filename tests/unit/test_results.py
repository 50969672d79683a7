"""Results: validated, merged, and shown from one place."""

import dataclasses

import pytest

from utils import CourseError, results


def record(**changes):
    values = {
        "notebook": "toy",
        "framework": "torch",
        "metric": "loss",
        "value": 1.5,
        "low": 1.25,
        "high": 1.75,
        "spread": "one standard error",
        "seeds": [0],
        "reference": "2",
        "better": "lower",
        "profile": "full",
        "trained": "a toy",
        "data": "toys",
        "device": "CPU",
        "seconds": 1.0,
        "peak_memory_mb": 100,
        "versions": {},
        "commit": "abc",
    }
    return results.Record(**{**values, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"value": float("nan")},
        {"value": 3.0},
        {"framework": "jax"},
        {"better": "larger"},
        {"low": 1.9},
    ],
)
def test_a_record_that_cannot_be_true_is_refused(changes):
    with pytest.raises(CourseError):
        record(**changes)


def test_a_new_measurement_replaces_its_framework_and_keeps_the_others(tmp_path):
    results.write("toy", [record(framework="keras")], tmp_path)
    results.write("toy", [record(value=1.3), record(metric="other")], tmp_path)
    results.write("toy", [record(value=1.4)], tmp_path)
    found = results.read("toy", tmp_path)
    assert [(r.framework, r.metric, r.value) for r in found] == [
        ("torch", "loss", 1.4),
        ("keras", "loss", 1.5),
    ]


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "toy.json").write_text("[{")
    with pytest.raises(CourseError, match="toy.json is damaged"):
        results.read("toy", tmp_path)


def test_the_tables_show_value_uncertainty_and_reference(tmp_path):
    assert "Nothing measured yet" in results.markdown("toy", tmp_path)
    results.write("toy", [record(), record(framework="keras", value=1.6)], tmp_path)
    row = "| loss (full) | 1.50 ± 0.25 | – | 1.60 ± 0.25 | 2 | toys |"
    one, every = results.markdown("toy", tmp_path), results.markdown(folder=tmp_path)
    assert f"\n{row}\n" in one and "± is one standard error; model: a toy; CPU." in one
    assert f"\n| toy {row}\n" in every and "\ntoy: ± is" in every


def test_the_readme_is_refreshed_between_its_markers(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    results.write("toy", [record()], tmp_path)
    assert results.refresh_readme(readme, tmp_path)
    text = readme.read_text()
    assert text.startswith("before") and text.endswith("after\n") and "old" not in text
    assert not results.refresh_readme(readme, tmp_path)
    readme.write_text("no markers")
    with pytest.raises(CourseError, match="markers"):
        results.refresh_readme(readme, tmp_path)


def test_every_recipe_belongs_to_a_notebook_and_an_unknown_one_is_named():
    with pytest.raises(CourseError, match="'99_none' is unknown"):
        results.recipe("99_none")
    assert results.recipe("02_vae").NOTEBOOK == "02_vae"


def test_the_readmes_show_what_was_measured():
    text = (results.ROOT / "README.md").read_text(encoding="utf-8")
    inside = text.split(results.MARKS[0])[1].split(results.MARKS[1])[0]
    shown = results.markdown(headlines=results.headlines())
    assert inside.strip() == shown.strip(), "run `make results`, or its `table`"
    full = (results.FOLDER / "README.md").read_text(encoding="utf-8")
    assert full == results.full_table(), "run `make results`, or its `table`"


def test_headlines_are_chosen_among_what_was_measured(tmp_path):
    results.write("toy", [record(), record(metric="size")], tmp_path)
    results.write("other", [dataclasses.replace(record(), notebook="other")], tmp_path)
    shown = results.markdown(folder=tmp_path, headlines={"toy": ["size"]})
    assert "toy | size" in shown and "toy | loss" not in shown and "other | loss" in shown
    assert "±" in shown and "± is" not in shown
    with pytest.raises(CourseError, match="toy has no result 'speed'"):
        results.markdown(folder=tmp_path, headlines={"toy": ["speed"]})


def test_records_on_file_are_whole():
    for path in results.FOLDER.glob("*.json"):
        for found in results.read(path.stem):
            assert dataclasses.asdict(found)["notebook"] == path.stem
            assert found.commit and found.versions["python"] and found.seconds > 0


def test_an_uncertainty_shows_two_digits_whatever_its_size():
    small = record(value=0.21134, low=0.2109, high=0.21178)
    assert results.rows([small, record(metric="other")])[0][1] == "0.21134 ± 0.00044"
    assert results.rows([record()])[0][1] == "1.50 ± 0.25"
