"""Schedules whose k differs in each layer, and between text and image tokens where a model can.

The models have four layers with experts. Each takes its schedule from a file as a search writes it,
and is observed and verified in prefill and decode by the engine's own code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import torch

from moe_eval_plugin.engines.expert_request import ModelConfig
from moe_eval_plugin.engines.transformers.model_at_k import ModelAtK
from moe_eval_plugin.errors import UnsupportedFamilyError
from moe_eval_plugin.experts.module_path import layer_number, path_modality
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.tuned_file import TunedFile
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.override.observe import observe
from moe_eval_plugin.publish.deployment.transformers_code import code_that_sets_k
from tests.experts.schedules.tuned_files import write_tuned_file
from tests.publish.deployment.tuned_files import RECORD

from .contract import CASES, build, fault_in_transformers, inputs_of, is_missing

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

    from moe_eval_plugin.experts.verification import VerifiedOverride

    from .tiny_configs import Case, Settings

BY_ID = {case.id: case for case in CASES}
N_LAYERS = 4
# The k of a layer is never that of the layer before, nor that of the other modality.
TEXT_KS, IMAGE_KS = (3, 1, 4, 2), (1, 4, 2, 3)
SPARSE: Settings = {"num_hidden_layers": N_LAYERS, "mlp_layer_types": ["sparse"] * N_LAYERS}
AFTER_A_DENSE_ONE: Settings = {"num_hidden_layers": N_LAYERS + 1, "first_k_dense_replace": 1}
# A token reaches the experts of two of the four groups.
GROUPS: Settings = {"n_group": 4, "topk_group": 2}
GENERATION = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}


@dataclass(frozen=True)
class Deep:
    """A family, and the settings with which its model has four layers with experts."""

    id: str
    """Name of the case in ``CASES``."""
    changes: Settings = field(default_factory=lambda: {"num_hidden_layers": N_LAYERS})
    """Settings of the text model."""
    first_layer: int = 0
    """The first decoder layer with experts."""

    @property
    def case(self) -> Case:
        """The family."""
        return BY_ID[self.id]

    @property
    def layers(self) -> range:
        """The decoder layers with experts."""
        return range(self.first_layer, self.first_layer + N_LAYERS)


DEEP = (
    Deep("qwen3_vl_moe"),
    Deep("ernie4_5_vl_moe", SPARSE),  # two routers in each layer, biases, a shared expert
    Deep("kimi_k25", {**AFTER_A_DENSE_ONE, **GROUPS}, 1),  # groups, biases, a shared expert
    Deep("glm4v_moe", {**AFTER_A_DENSE_ONE, **GROUPS}, 1),
    Deep("internvl+gpt_oss", {**SPARSE, "layer_types": ["full_attention"] * N_LAYERS}),
    Deep("aria"),  # shared experts
    Deep("longcat_flash", {"num_layers": N_LAYERS}),  # experts that compute nothing
    Deep("hunyuan_v1_moe", {"num_hidden_layers": N_LAYERS, "moe_topk": [4] * N_LAYERS}),
)


@pytest.fixture(scope="module", params=DEEP, ids=lambda deep: deep.id)
def deep(request: pytest.FixtureRequest) -> Deep:
    """One family that the installed transformers has and can run."""
    found: Deep = request.param
    if is_missing(found.case) or fault_in_transformers(found.case):
        pytest.skip(f"{found.id} cannot be tried in this release of transformers")
    return found


@pytest.fixture(scope="module")
def model(deep: Deep) -> PreTrainedModel:
    return build(deep.case.config(**deep.changes))


def config_of(model: PreTrainedModel) -> ModelConfig:
    return ModelConfig(
        "tiny",
        None,
        trust_remote_code=False,
        config=model.config,
        description=describe(model.config),
    )


def schedule_text(deep: Deep, *, by_modality: bool) -> str:
    """Return k by layer; image tokens have another one with ``by_modality``."""
    rules = [f"{layer}:{k}" for layer, k in zip(deep.layers, TEXT_KS, strict=True)]
    if by_modality:
        rules += [f"image+{layer}:{k}" for layer, k in zip(deep.layers, IMAGE_KS, strict=True)]
    return "/".join(rules)


def from_file(text: str, folder: Path) -> str:
    """Return the value of ``experts_k`` that names a file with a schedule."""
    path = folder / "tuned.yaml"
    write_tuned_file(path, TunedFile(parse_experts_k(text), tuning=RECORD))
    return f"@{path}"


def run(deep: Deep, model: PreTrainedModel) -> None:
    torch.manual_seed(0)
    model.generate(**inputs_of(deep.case), **GENERATION)


def by_layer(verified: VerifiedOverride, phase: str, modality: str) -> dict[int, float]:
    """Return the observed k of each layer; a layer with two routers has one for each modality."""
    found = {}
    for path, summary in verified.routing["layers"].items():
        k = summary["observed_num_experts_per_tok"].get(phase, {}).get(modality)
        if k is not None and path_modality(path) in {None, modality}:
            found[layer_number(path)] = k
    return found


def test_each_layer_is_observed_and_verified_at_its_own_k(
    deep: Deep, model: PreTrainedModel, tmp_path: Path
) -> None:
    for by_modality in (False, True) if deep.case.image else (False,):
        text = schedule_text(deep, by_modality=by_modality)
        request = config_of(model).request(from_file(text, tmp_path))
        assert request.tuning == RECORD
        assert request.model.moe_layers == tuple(deep.layers)
        at_k = ModelAtK(model, request, "tiny")
        verified = at_k.verify(lambda: run(deep, model), 1)
        at_k.close()
        expected = dict(zip(deep.layers, TEXT_KS, strict=True))
        of_images = dict(zip(deep.layers, IMAGE_KS, strict=True)) if by_modality else expected
        for phase in ("prefill", "decode"):
            assert by_layer(verified, phase, "text") == expected
        assert by_layer(verified, "prefill", "image") == (of_images if deep.case.image else {})


def test_code_of_plain_transformers_sets_the_same_k(deep: Deep) -> None:
    """Without this package, text and image tokens differ only where each has its own routers."""
    model = build(deep.case.config(**deep.changes))
    has_two_routers = deep.id == "ernie4_5_vl_moe"
    if deep.case.image and not has_two_routers:
        both = config_of(model).request(schedule_text(deep, by_modality=True))
        with pytest.raises(UnsupportedFamilyError, match="as many experts for image tokens"):
            code_that_sets_k(both)
    text = schedule_text(deep, by_modality=has_two_routers)
    request = config_of(model).request(text)
    if 1 in TEXT_KS and deep.id == "longcat_flash":
        with pytest.raises(UnsupportedFamilyError, match="fail at one expert"):
            code_that_sets_k(request)
        request = config_of(model).request(text.replace(":1", ":5"))
    exec("\n".join(code_that_sets_k(request)), {"model": model})  # noqa: S102
    with torch.no_grad(), observe(model) as pending:
        run(deep, model)
    observation, resolved = pending.result(), request.resolved
    assert resolved is not None
    seen: dict[Any, set[int]] = {}
    for modality in ("text", "image") if deep.case.image else ("text",):
        for path, ks in observation.by_layer(modality).items():
            if path_modality(path) in {None, modality} and ks:
                seen[layer_number(path), modality] = set(ks)
    assert seen == {
        (layer, modality): {resolved.k_of(layer, modality, "prefill")}  # type: ignore[arg-type]
        for layer in deep.layers
        for modality in (("text", "image") if deep.case.image else ("text",))
    }
