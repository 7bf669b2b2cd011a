"""Write Python code that runs a setting in transformers, with this package and without it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import UnsupportedFamilyError
from moe_eval_plugin.models.checkpoint import resolve
from moe_eval_plugin.models.parameters import auto_class, build_on_meta
from moe_eval_plugin.publish.deployment.router_places import (
    OF_A_CONFIGURATION,
    RouterPlace,
    router_places,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.engines.expert_request import ExpertRequest, ModelConfig
    from moe_eval_plugin.experts.schedules.schedule import ResolvedSchedule
    from moe_eval_plugin.experts.tokens import Modality
    from moe_eval_plugin.publish.deployment.setting import SettingToDeploy

PROMPT = "What is in the picture?"
READ_IMAGES = ("AutoModelForImageTextToText", "AutoModelForMultimodalLM")
TABLE = {None: "K", "text": "K_TEXT", "image": "K_IMAGE"}


def code_with_package(setting: SettingToDeploy) -> str:
    """Return a program that runs the setting with ``moe_eval_plugin.experts_k``.

    Raises ``InvalidArgumentError`` without a model.
    """
    request = setting.checked
    if setting.schedule:
        arguments = json.dumps(setting.schedule.text)
    else:
        arguments = f"None, experts_policy={json.dumps(setting.policy)}"
    return "\n".join(
        [
            "import moe_eval_plugin as moe",
            *_loading(request.model),
            "# k is set while the block runs. The experts of the first pass of each phase are",
            '# counted and compared with the request; observe="none" leaves that out.',
            f"with moe.experts_k(model, {arguments}) as experts:",
            "    model.generate(**inputs, max_new_tokens=8)",
            "print(experts)",
            "",
        ]
    )


def code_without_package(setting: SettingToDeploy) -> str:
    """Return a program that sets k in the routers with transformers alone.

    Raises ``UnsupportedFamilyError`` where that is not possible, and ``InvalidArgumentError``
    without a model.
    """
    request = setting.checked
    if setting.policy:
        message = "transformers has no rule that drops experts by their weights"
        raise UnsupportedFamilyError(message)
    return "\n".join(
        [
            *_loading(request.model),
            *code_that_sets_k(request),
            "model.generate(**inputs, max_new_tokens=8)",
            "",
        ]
    )


def code_that_sets_k(request: ExpertRequest) -> list[str]:
    """Return the lines that write a schedule into the routers of the variable ``model``.

    Raises ``UnsupportedFamilyError`` where attributes of routers cannot express the schedule.
    """
    resolved = request.resolved
    if resolved is None:
        return []
    layers = request.model.moe_layers
    trusts = request.model.trust_remote_code
    built = build_on_meta(request.model.config, trust_remote_code=trusts)
    places = router_places(built, request.description, resolved, layers)
    modalities = dict.fromkeys(place.modality for place in places)
    tables = [_table(resolved, layers, modality) for modality in modalities]
    needs_copy = any(place.attribute.startswith(OF_A_CONFIGURATION) for place in places)
    return [
        *(["import copy", ""] if needs_copy else []),
        "# Routed experts per token, by decoder layer.",
        *tables,
        *(line for place in places for line in _writing(place, layers)),
    ]


def _loading(model: ModelConfig) -> Iterator[str]:
    """Yield the lines that load a model and make inputs of a prompt."""
    trusts = model.trust_remote_code
    loader = auto_class(model.config, trust_remote_code=trusts).__name__
    processor = "AutoProcessor" if loader in READ_IMAGES else "AutoTokenizer"
    arguments = "".join(
        [
            f", revision={json.dumps(model.revision)}" if model.revision else "",
            ", trust_remote_code=True" if trusts else "",
        ]
    )
    source = resolve(model.pretrained)
    yield f"from transformers import {loader}, {processor}"
    yield ""
    yield f"NAME = {json.dumps(source)}"
    yield f'model = {loader}.from_pretrained(NAME, dtype="auto"{arguments})'
    yield f"processor = {processor}.from_pretrained(NAME{arguments})"
    yield f'inputs = processor(text="{PROMPT}", return_tensors="pt")  # your own prompts'
    yield ""


def _table(resolved: ResolvedSchedule, layers: tuple[int, ...], modality: Modality | None) -> str:
    ks = {layer: resolved.k_of(layer, modality or "text", "prefill") for layer in layers}
    return f"{TABLE[modality]} = {ks}"


def _writing(place: RouterPlace, layers: tuple[int, ...]) -> Iterator[str]:
    """Yield the loop that writes k at one place of each layer that has it."""
    name = TABLE[place.modality]
    if place.layers == layers:
        yield f"for layer, k in {name}.items():"
    else:
        yield f"for layer, k in ((layer, {name}[layer]) for layer in {list(place.layers)}):"
    yield f'    router = model.get_submodule(f"{place.path}")'
    if place.attribute.startswith(OF_A_CONFIGURATION):
        yield "    router.config = copy.copy(router.config)"
    yield f"    router.{place.attribute} = k"
