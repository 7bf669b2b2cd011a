"""Options and keys as entries of the search and of the general index, and as targets of links.

``enter`` makes an anchor of a page known: the search lists it with its kind and page, the general
index has it, and pages link to it as ``[text](page.md#anchor)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sphinx import addnodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

# The kinds of entries, as the search calls them.
KINDS = {
    "moe-option": "option of a command",
    "moe-argument": "argument of a model",
    "moe-family": "family of models",
    "moe-key": "key of the results",
    "moe-variable": "environment variable",
}
# Entries come before pages whose text has the same word.
PRIORITY = 0


@dataclass(frozen=True)
class Entry:
    """Something with a name and a place in a page."""

    kind: str
    """One of ``KINDS``."""
    name: str
    """What people type into the search, for instance ``--experts-k``."""
    owner: str
    """What has it, for instance ``moe-eval sweep``; empty if the name says it all."""
    anchor: str
    """The id of the place in the page."""

    @property
    def title(self) -> str:
        """The name with its owner, as search results show it."""
        return f"{self.owner} {self.name}".strip()


def enter(env: BuildEnvironment, entry: Entry) -> addnodes.index:
    """Register an entry of the page that is being read.

    Returns the node for the general index, which belongs into the page, near the anchor.
    """
    standard = env.domains.standard_domain
    standard.note_object(entry.kind, entry.title, entry.anchor)
    standard.labels[entry.anchor] = (env.current_document.docname, entry.anchor, entry.title)
    standard.anonlabels[entry.anchor] = (env.current_document.docname, entry.anchor)
    value = "; ".join(part for part in (entry.name, entry.owner) if part)
    return addnodes.index(entries=[("single", value, entry.anchor, "", None)])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the kinds of entries."""
    for kind, meaning in KINDS.items():
        app.add_object_type(kind, kind, objname=meaning)
        app.registry.domain_object_types["std"][kind].attrs["searchprio"] = PRIORITY
    return {"parallel_read_safe": True, "parallel_write_safe": True}
