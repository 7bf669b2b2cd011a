"""Settings of the documentation; `make docs` builds it, and a warning is an error."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "moe-eval-plugin"
author = "The moe-eval-plugin authors"
project_copyright = f"2026, {author}"
version = release = installed_version(project)

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "command_help",
    "families_table",
    "notebook_page",
    "options_table",
    "versions_table",
]
exclude_patterns = ["_build", "_ext", "_figures"]

html_theme = "furo"
html_title = f"moe-eval {version}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
# The report of the demo sweep is a page of its own, report.html, which opens as it is.
html_extra_path = ["measurements/demo-sweep/report.html"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
