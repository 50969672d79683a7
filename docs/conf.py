"""Sphinx's settings for the course as a website: `make site` writes it, without a network."""

project = "Deep learning, three ways"
author = "the course's contributors"
html_title = project

extensions = [
    "myst_nb",  # notebooks as they are stored
    "sphinx_design",  # hints and solutions that open at a click
    "sphinx_copybutton",
    "sphinx-mathjax-offline",  # MathJax comes with the site
]
myst_enable_extensions = ["amsmath", "dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True
suppress_warnings = [
    "myst.header",  # a notebook may begin a cell with any heading
    "mystnb.unknown_mime_type",
]

# `make links`: a site that is slow today is no dead link, and GitHub makes its anchors by script.
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_report_timeouts_as_broken = False
linkcheck_anchors_ignore_for_url = [r"https://github\.com/"]

html_theme = "furo"
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False
exclude_patterns = ["_build"]

# Code and tables wider than the page scroll: let the keyboard reach those, and only those.
_KEYBOARD = """
addEventListener("DOMContentLoaded", () => {
  const measure = () => document.querySelectorAll("pre, .table-wrapper, .output").forEach((e) => {
    e.scrollWidth > e.clientWidth ? e.tabIndex = 0 : e.removeAttribute("tabindex");
  });
  addEventListener("resize", measure);
  addEventListener("load", measure);
  document.addEventListener("toggle", measure, true); // a solution was opened
  measure();
});
"""
html_js_files = [(None, {"body": _KEYBOARD})]
