"""axe-core on pages of the website, light and dark, where `make site` has written it."""

from pathlib import Path
from typing import Any

import pytest
from accessibility import violations

SITE = Path(__file__).resolve().parents[2] / "build" / "site"
PAGES = [
    "index.html",
    "glossary.html",
    "prerequisites.html",
    "chapters/00_start_here/00_start_here.html",
]
# The theme's own: its switch stands outside every landmark, and it repeats landmarks by design.
OUTSIDE = ".sidebar-drawer, .toc-drawer, .mobile-header, .content-icon-container, .related-pages"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible(browser: Any, name: str, theme: str) -> None:
    if not (SITE / name).is_file():
        pytest.skip("the website is not written here: `make site` does it")
    context = browser.new_context(color_scheme=theme, offline=True)
    try:
        page = context.new_page()
        page.goto((SITE / name).as_uri())
        found, checked = violations(page, "article", OUTSIDE)
        assert found == [], "\n".join(found)
        assert {"color-contrast", "heading-order"} <= checked
    finally:
        context.close()
