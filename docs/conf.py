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
    "sphinx_copybutton",
    "sphinx_design",
    "command_help",
    "console_lexer",
    "families_table",
    "host_options",
    "line_breaks",
    "live_pages",
    "notebook_page",
    "options_table",
    "result_keys",
    "versions_table",
]
exclude_patterns = ["_build", "_ext", "_figures"]

html_theme = "furo"
html_title = f"moe-eval {version}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_theme_options = {"top_of_page_buttons": []}
html_copy_source = False
html_search_scorer = str(Path(__file__).parent / "_ext" / "scorer.js")
# Commands and programs are copied, output is not.
copybutton_selector = "div[class*=highlight-]:not(.highlight-text) > div.highlight > pre"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# For `make links`. Publishers refuse programs, and GitHub marks lines of files with JavaScript.
linkcheck_ignore = [r"https://doi\.org/.*"]
linkcheck_anchors_ignore_for_url = [r"https://github\.com/.*"]
linkcheck_retries = 2
linkcheck_timeout = 20

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
