"""axe-core, which comes with a pinned package, asked about a page; it needs no network."""

from typing import Any

import pytest

# WCAG 2.2 at level AA, and what axe's authors recommend beside it.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(page: Any, within: str = "html", beside: str = "") -> tuple[list[str], set[str]]:
    """What axe finds wrong inside the elements that `within` selects, and which rules applied.

    Parameters
    ----------
    page
        Playwright's page.
    within, beside
        CSS selectors: what to look at, and what in it to leave out.
    """
    script = pytest.importorskip("axe_playwright_python.base").AXE_SCRIPT
    page.evaluate(script)
    context = {"include": [[within]]} | ({"exclude": [[beside]]} if beside else {})
    # What surrounds an output (landmarks, the page's title) is JupyterLab's.
    rules = {"region": {"enabled": within == "html"}}
    options = {"runOnly": {"type": "tag", "values": TAGS}, "rules": rules}
    said = page.evaluate("([where, how]) => axe.run(where, how)", [context, options])
    found = [
        f"{rule['id']} ({rule['impact']}): {rule['help']}: {node['html'][:200]} {node['target']}"
        + " ".join(check["message"] for check in node["any"] + node["all"] + node["none"])
        for rule in said["violations"]
        for node in rule["nodes"]
    ]
    return found, {rule["id"] for rule in said["passes"]}
