"""The contract of every family, step by step; the tests and the docs table use it."""

from __future__ import annotations

import inspect
import re
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
import transformers
from packaging.version import Version
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoModelForTokenClassification,
    PreTrainedModel,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from moe_eval_plugin.architectures.register import register
from moe_eval_plugin.experts.module_path import layer_number
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.override.k_search import HASH_TABLE, find_k_locations
from moe_eval_plugin.override.observe import observe
from moe_eval_plugin.override.recording.record_choices import record_choices
from moe_eval_plugin.override.recording.recorded import RowLabel
from moe_eval_plugin.testing import fill_with_noise

from .tiny_configs import TEXT_CASES, Case, E
from .tiny_vision import IMAGE, START, VISION_CASES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from transformers import PretrainedConfig

    from moe_eval_plugin.experts.observation import Observation
    from moe_eval_plugin.override.recording.recorded import RecordedChoices

# A family of this package, which transformers lacks.
register()

CASES: tuple[Case, ...] = (*TEXT_CASES, *VISION_CASES)
# What fails inside transformers at any k: family -> what the error says.
FAULTS = {"llama4": "'MoeCausalLMOutputWithPast' object has no attribute 'image_outputs'"}
# What transformers lacked for some families before 5.18, by text model.
BEFORE_5_18 = {
    "aria_text": "its experts are called one by one, so nothing can be observed",
    "doge": "its attention fails in itself",
    "qwen4_exp_text": "its layers have other types",
}
IS_BEFORE_5_18 = Version(transformers.__version__) < Version("5.18")
ROUTER = re.compile(r"Router$|MoEV1Gate$")
AUTO_CLASSES = (
    AutoModelForMultimodalLM,
    AutoModelForImageTextToText,
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
)


def is_missing(case: Case) -> bool:
    """Whether the installed transformers lacks a family."""
    return not {case.model_type, case.text_type} <= set(CONFIG_MAPPING)


@cache
def model_of(case: Case) -> PreTrainedModel:
    """Return the family's model, built once; whoever changes it restores it."""
    return build(case.config())


@cache
def inputs_of(case: Case) -> dict[str, Any]:
    """Return the model's inputs: a line of text, with a picture in it if the case has one."""
    picture = [IMAGE] * case.n_image_tokens
    ids = torch.tensor([[3, 4, 5, START, *picture, *range(6, 14)]])
    kinds = (ids == IMAGE).int()
    wanted = _arguments(model_of(case))
    given = case.image() if case.image else {}
    for name in ("mm_token_type_ids", "moe_mm_token_type_ids"):
        if case.image and name in wanted:
            given[name] = kinds
    return {"input_ids": ids, **given}


def rebuilt(case: Case, k: int) -> PreTrainedModel:
    """Build a model with the same weights, from a configuration with another k.

    Hash-routed layers have a table of the published width, as a checkpoint would.
    """
    original = model_of(case)
    model = build(case.config(k))
    for path, module in model.named_modules():
        if HASH_TABLE in dict(module.named_buffers(recurse=False)):
            module.register_buffer(HASH_TABLE, original.get_submodule(path).get_buffer(HASH_TABLE))
    model.load_state_dict(original.state_dict())
    return model


@torch.no_grad()
def logits(case: Case, model: PreTrainedModel | None = None) -> torch.Tensor:
    """Return the logits of one pass; random parts (a canvas of random tokens) are seeded."""
    model, inputs = model or model_of(case), inputs_of(case)
    torch.manual_seed(0)
    result: torch.Tensor = model(**inputs).logits
    return result


def fault_in_transformers(case: Case) -> str | None:
    """Return why a family cannot be tried in the installed transformers, ``None`` if it can."""
    if IS_BEFORE_5_18 and case.text_type in BEFORE_5_18:
        return BEFORE_5_18[case.text_type]
    if case.id not in FAULTS:
        return None
    try:
        logits(case)
    except AttributeError as error:
        if str(error) != FAULTS[case.id]:
            raise
        return str(error)
    return None


def observed(case: Case) -> Observation:
    """Return the experts that the tokens of one pass of the family's model used."""
    with observe(model_of(case)) as pending:
        logits(case)
    return pending.result()


def recorded(case: Case) -> tuple[RecordedChoices, Observation, list[torch.Tensor]]:
    """Return what the tokens of one pass of the family's model chose, recorded and observed.

    The last are the tables with a column for each expert that routers returned, as they return
    them: logits, in most families.
    """
    model, returned = model_of(case), []

    def keep(_module: torch.nn.Module, _args: object, output: object) -> None:
        values = output if isinstance(output, tuple) else (output,)
        returned.extend(v.flatten(end_dim=-2) for v in values if v.shape[-1] == E)

    routers = [m for m in model.modules() if ROUTER.search(type(m).__name__)]
    handles = [router.register_forward_hook(keep) for router in routers]
    rows = [RowLabel(task=0, question=0, sequence=0)]
    with record_choices(model) as recorder, observe(model) as pending, recorder.labelled(rows):
        logits(case)
    for handle in handles:
        handle.remove()
    return recorder.result(), pending.result(), returned


@contextmanager
def with_k(case: Case, k: int | Mapping[int, int]) -> Iterator[None]:
    """Set k in every MoE layer of the family's model, or by layer, and restore it."""
    text = str(k) if isinstance(k, int) else "/".join(f"{n}:{value}" for n, value in k.items())
    schedule = parse_experts_k(text)
    assert schedule is not None
    description = describe(model_of(case).config)
    layers = None if isinstance(k, int) else list(k)
    with apply(model_of(case), schedule.resolve(description, layers)):
        yield


def routed_layers(case: Case) -> dict[str, int]:
    """Return the MoE layers whose k can be set: path in an observation -> layer number.

    Hash-routed layers and those of an image tower are not among them; their locations are rejected.
    """
    found = [
        location for location in find_k_locations(model_of(case)) if location.decision.accepted
    ]
    routers = [location.decision.path for location in found if location.layer is not None]
    layers = {}
    for path in observed(case).layers:
        block, number = f"{path.rpartition('.')[0]}.", layer_number(path)
        if number is not None and any(f"{router}.".startswith(block) for router in routers):
            layers[path] = number
    return layers


def state_of(model: PreTrainedModel) -> dict[str, Any]:
    """Return all that a change of k might leave behind: configurations and attributes."""
    return {
        path: (id(vars(module).get("config")), {**_plain(module)})
        for path, module in model.named_modules()
    } | {"config": model.config.to_dict()}


def parts_that_choose(case: Case) -> list[PreTrainedModel]:
    """List the parts of a model for which transformers offers several ways to compute experts."""
    parts = (part for part in model_of(case).modules() if isinstance(part, PreTrainedModel))
    return [part for part in parts if part._can_set_experts_implementation()]


def build(config: PretrainedConfig) -> PreTrainedModel:
    """Return the model of a configuration, with weights that are noise."""
    auto_class = next(auto for auto in AUTO_CLASSES if type(config) in auto._model_mapping)
    model: PreTrainedModel = auto_class.from_config(config)
    fill_with_noise(model)
    for buffers in (dict(module.named_buffers(recurse=False)) for module in model.modules()):
        if HASH_TABLE in buffers:
            _fill_hash_table(buffers[HASH_TABLE], config.n_routed_experts)
    return model.eval()


def _fill_hash_table(table: torch.Tensor, num_experts: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for row in table:
        row.copy_(torch.randperm(num_experts, generator=generator)[: len(row)])


def _arguments(model: PreTrainedModel) -> set[str]:
    parts = (model, *model.children())
    codes = [type(part).forward for part in parts]
    return {name for code in codes for name in inspect.unwrap(code).__code__.co_varnames}


def _plain(module: torch.nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if isinstance(value, int | list)}


def config_of(model_type: str) -> PretrainedConfig:
    """Return the default configuration of a family."""
    return AutoConfig.for_model(model_type)
