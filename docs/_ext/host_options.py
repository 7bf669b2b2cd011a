"""The directive ``host-options``: what becomes of each option of lmms-eval's command.

The lists are made from those by which the program itself checks the options: ``used`` has the
options that are used, by who uses them, and ``refused`` the others, each with the reason.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docutils import nodes
from search_entries import Entry, enter
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

OWNER = "lmms-eval"
OPTION = re.compile(r"--\w+|\w+=\w+")


class HostOptions(SphinxDirective):
    """A list of lmms-eval's options, with an anchor on each."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Build the list from the data that the program itself uses."""
        from moe_eval_plugin.hosts.lmms_eval.host_options import REFUSED, USED

        if self.arguments == ["refused"]:
            rows = [([name], reason) for name, reason in REFUSED.items()]
        else:
            users = dict.fromkeys(USED.values())
            rows = [([name for name in USED if USED[name] == user], user) for user in users]
        items = [self._item(names, text) for names, text in rows]
        return [nodes.definition_list("", *items, classes=["options"])]

    def _item(self, names: list[str], text: str) -> nodes.definition_list_item:
        term = nodes.term("", "", *self._names(names))
        # The name of the host keeps its small letter, and options are not made into dashes.
        capital = text if text.startswith(OWNER) else text[:1].upper() + text[1:]
        meaning = OPTION.sub(r"`\g<0>`", capital) + "."
        definition = nodes.definition("", *self.parse_text_to_nodes(meaning))
        return nodes.definition_list_item("", term, definition)

    def _names(self, names: list[str]) -> Iterator[nodes.Node]:
        for number, name in enumerate(names):
            option, anchor = f"--{name}", nodes.make_id(f"{OWNER} {name}")
            link = nodes.reference("", "", nodes.literal(text=option), refid=anchor, ids=[anchor])
            yield nodes.Text(", " if number else "")
            yield enter(self.env, Entry("moe-option", option, OWNER, anchor))
            yield link


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.setup_extension("search_entries")
    app.add_directive("host-options", HostOptions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
