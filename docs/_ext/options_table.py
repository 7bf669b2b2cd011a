"""The directive ``options-table``: the ``--model_args`` of a model, one item per option.

The list is made from the option classes when the documentation is built: the name of each field,
and the docstring below it, which has the form ``MEANING; default: DEFAULT.``
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from docutils import nodes
from search_entries import Entry, enter
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Collection

    from sphinx.application import Sphinx

SEPARATOR = "; default: "
# Models whose name alone does not say where they run.
OWNERS = {"lm_eval_moe_hf": "lm-eval moe_hf"}


@dataclass(frozen=True)
class Option:
    """One option, as users read about it."""

    name: str
    meaning: str
    default: str


def options_of(options_class: type, names: Collection[str] | None = None) -> list[Option]:
    """List the options of a dataclass that have one of ``names``; all without ``names``.

    Raises ``ValueError`` for an option whose docstring is missing or of another form.
    """
    docs = ModuleAnalyzer.for_module(options_class.__module__).find_attr_docs()
    return [
        _option(field.name, " ".join(docs.get((options_class.__name__, field.name), [])).strip())
        for field in fields(options_class)
        if names is None or field.name in names
    ]


def options_of_model(model: str) -> list[Option]:
    """List the options of a model of ours in lmms-eval; in lm-eval, for ``lm_eval_moe_hf``.

    Raises ``KeyError`` for another name.
    """
    models = {
        "moe_hf": _options_of_moe_hf,
        "moe_vllm": _options_of_moe_vllm,
        "lm_eval_moe_hf": _options_of_lm_eval_moe_hf,
    }
    return models[model]()


def anchor(model: str, option: Option) -> str:
    """Build the id of an option's item, for instance ``moe-hf-experts-k``."""
    return nodes.make_id(f"{model}-{option.name}")


def _option(name: str, docstring: str) -> Option:
    meaning, separator, default = docstring.partition(SEPARATOR)
    if not separator:
        message = f"the docstring below {name} is not 'MEANING{SEPARATOR}DEFAULT.': {docstring!r}"
        raise ValueError(message)
    return Option(name, meaning, default.removesuffix("."))


def _options_of_moe_hf() -> list[Option]:
    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.hosts.run_options import RunOptions

    return [*options_of(EngineOptions), *options_of(RunOptions)]


def _options_of_moe_vllm() -> list[Option]:
    from moe_eval_plugin.engines.vllm.options import VLLMOptions
    from moe_eval_plugin.hosts.run_options import RunOptions
    from moe_eval_plugin.model_adapters.vllm_arguments import OPTIONS, RUN_OPTIONS

    names = {*OPTIONS, *RUN_OPTIONS}
    return [*options_of(VLLMOptions, names), *options_of(RunOptions, names)]


def _options_of_lm_eval_moe_hf() -> list[Option]:
    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.model_adapters.lm_eval_hf_arguments import EXPERTS, MEASURES, HFArguments

    names = {"pretrained", "device", *MEASURES}
    return [*options_of(EngineOptions, EXPERTS), *options_of(HFArguments, names)]


class OptionsTable(SphinxDirective):
    """The list of a model's options, with an anchor on each."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Build the list from the classes that the program itself uses."""
        (model,) = self.arguments
        items = [self._item(model, option) for option in options_of_model(model)]
        return [nodes.definition_list("", *items, classes=["options"])]

    def _item(self, model: str, option: Option) -> nodes.definition_list_item:
        place = anchor(model, option)
        entry = enter(self.env, Entry("moe-argument", option.name, OWNERS.get(model, model), place))
        link = nodes.reference("", "", nodes.literal(text=option.name), refid=place)
        text = f"{option.meaning}. *Default:* {option.default}."
        return nodes.definition_list_item(
            "",
            nodes.term("", "", entry, link, ids=[place]),
            nodes.definition("", *self.parse_text_to_nodes(text)),
        )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.setup_extension("search_entries")
    app.add_directive("options-table", OptionsTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
