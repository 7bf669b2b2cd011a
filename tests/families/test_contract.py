"""Every MoE family of the installed transformers: a change of k takes effect and is undone.

A family is a row of ``tiny_configs`` or ``tiny_vision``. One that the installed transformers lacks
is skipped by name; one that it has and that is in neither fails a test.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import transformers
from transformers.models.auto.configuration_auto import (
    CONFIG_MAPPING,
    model_type_to_module_name,
)

from moe_eval_plugin.errors import UnsupportedFamilyError
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.override.k_search import find_k_locations

from .contract import (
    CASES,
    IS_BEFORE_5_18,
    config_of,
    fault_in_transformers,
    inputs_of,
    is_missing,
    logits,
    model_of,
    observed,
    parts_that_choose,
    rebuilt,
    recorded,
    routed_layers,
    state_of,
    with_k,
)
from .tiny_configs import LOWERED, RAISED, Case, K
from .tiny_vision import VISION_CASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

# The reductions of the implementations have another order; values are up to some tens.
TOLERANCE = 1e-3
IMPLEMENTATIONS = ("eager", "grouped_mm", "batched_mm")
EAGER_ONLY = ("dbrx", "doge", "jetmoe", "llama4_text", "longcat_flash", "step3p5")
REFUSED = ("phimoe", "zaya", "switch_transformers", "nllb-moe")
NOT_MOE = {
    "granite_docling": "its density router chooses a path for a whole picture",
    "nemotron3_5_transcribe": "its language model is nemotron_h",
    "vitpose_backbone": "the data set decides which head takes a picture; nothing is routed",
}
MOE_CLASS = re.compile(
    r"^class \w*(?:Experts?|Router|Gating|M[oO]E|SparseMoe\w*|MoeBlock|MLPMoe)\(", re.MULTILINE
)
MOE_KEY = re.compile(
    r"\b(?:num_experts_per_tok(?:en)?|moe_top_?k|moe_k|top_k_experts|num_experts"
    r"|n_routed_experts|num_local_experts|moe_num_experts)\b"
)


# Their routers choose by other functions than softmax and sigmoid, or pass no weights on.
UNSEEN_SCORES = ("deepseek_v4", "doge", "jetmoe")
# A canvas of tokens that are no input, and patches of a picture.
UNASSIGNED_ROWS = {
    "diffusion_gemma": ("model.decoder.",),
    "dots3_note": ("model.vision_tower.",),
}
# Layers that run several times in each forward pass, and so see each token as often.
RUNS = {"inkling2_loop": {"model.language_model.layers.1.mlp.experts": 2}}


@pytest.fixture(params=CASES, ids=lambda case: case.id)
def present(request: pytest.FixtureRequest) -> Case:
    """One family that the installed transformers has."""
    family: Case = request.param
    if is_missing(family):
        pytest.skip(f"transformers {transformers.__version__} has no {family.id}")
    return family


@pytest.fixture
def case(present: Case) -> Case:
    """One family that the installed transformers has and can run."""
    fault = fault_in_transformers(present)
    if fault is not None:
        pytest.skip(f"{present.id} in transformers {transformers.__version__}: {fault}")
    return present


@pytest.mark.parametrize("k", [LOWERED, RAISED])
def test_a_live_change_equals_a_model_rebuilt_with_that_k(case: Case, k: int) -> None:
    published = logits(case)
    with with_k(case, k):
        live = logits(case)
    assert torch.isfinite(live).all()
    assert torch.equal(live, logits(case, rebuilt(case, k)))
    assert not torch.equal(live, published)


def test_nothing_is_left_behind(case: Case) -> None:
    model = model_of(case)
    # The first run leaves marks of its own in some models.
    published = logits(case)
    state = state_of(model)
    with with_k(case, LOWERED):
        assert state_of(model) != state
    assert state_of(model) == state
    assert torch.equal(logits(case), published)


def test_tokens_use_the_k_that_was_set_in_every_layer(case: Case) -> None:
    layers = routed_layers(case)
    assert layers
    for k in (case.smallest_k, LOWERED, K, RAISED):
        with with_k(case, k):
            histograms = observed(case).by_layer()
        assert {path: set(histograms[path]) for path in layers} == {path: {k} for path in layers}


def test_only_known_layers_are_left_alone(case: Case) -> None:
    others = set(observed(case).by_layer()) - set(routed_layers(case))
    known = {
        "deepseek_v4": {"model.layers.0.mlp.experts"},
        "dots3_note": {"model.vision_tower.blocks.1.mlp.experts"},
    }
    assert others == known.get(case.id, set())
    rejected = [x for x in find_k_locations(model_of(case)) if not x.decision.accepted]
    assert bool(rejected) == bool(others)


def test_layers_can_have_different_k(case: Case) -> None:
    layers = routed_layers(case)
    numbers = enumerate(sorted(set(layers.values())), start=case.smallest_k)
    k_by_layer = {number: k for k, number in numbers}
    # Locations of dense layers may exist (a list has one k for each layer) and do not matter.
    everywhere = {number: k_by_layer.get(number, K) for number in range(max(k_by_layer) + 1)}
    with with_k(case, everywhere):
        histograms = observed(case).by_layer()
    assert {path: set(histograms[path]) for path in layers} == {
        path: {k_by_layer[number]} for path, number in layers.items()
    }


def test_recorded_experts_are_those_observed_with_the_scores_of_the_router(case: Case) -> None:
    choices, observation, returned = recorded(case)
    loads: dict[str, np.ndarray] = {}
    for layer in choices.layers:
        path, chosen = layer.path.partition(" (run")[0], layer.experts[:, : layer.published_k]
        loads.setdefault(path, np.zeros(layer.num_experts + layer.num_zero_experts, np.int64))
        np.add.at(loads[path], chosen.ravel(), 1)
        assert (layer.scores is None) == (case.text_type in UNSEEN_SCORES)
        if layer.scores is None or not returned:
            continue
        assert layer.experts.shape[1] == layer.published_k + 1
        ids = torch.from_numpy(layer.experts.astype(np.int64))
        normalise = (lambda t: t.softmax(-1)) if layer.scores_sum_to_one else torch.sigmoid
        tables = [f(t.float()) for t in returned if len(t) == len(ids) for f in (normalise, abs)]
        found = [table.gather(-1, ids).numpy() for table in tables]
        assert any(np.allclose(one, layer.scores, atol=1e-5) for one in found)
    unassigned = UNASSIGNED_ROWS.get(case.id, ())
    expected = {path: one.load for path, one in observation.layers.items() if one.tokens}
    expected = {p: load for p, load in expected.items() if not p.startswith(tuple(unassigned))}
    assert {path: tuple(counts) for path, counts in loads.items()} == expected


@pytest.mark.parametrize("present", VISION_CASES, ids=lambda case: case.id, indirect=True)
def test_the_tokens_of_a_picture_are_seen_and_use_the_k_that_was_set(case: Case) -> None:
    assert "pixel_values" in inputs_of(case)
    with with_k(case, LOWERED):
        observation = observed(case)
    assert observation.n_tokens("image") == case.n_image_tokens > 0
    assert observation.n_tokens("text") > 0
    by_layer = observation.by_layer(modality="image")
    with_pictures = {path: by_layer[path] for path in routed_layers(case) if by_layer.get(path)}
    assert with_pictures
    runs = RUNS.get(case.id, {})
    expected = {path: {LOWERED: case.n_image_tokens * runs.get(path, 1)} for path in with_pictures}
    assert with_pictures == expected


@pytest.fixture
def choosers(case: Case) -> Iterator[list[PreTrainedModel]]:
    """The parts of a model whose way to compute experts can be chosen; it is restored."""
    parts = parts_that_choose(case)
    published = [part.config._experts_implementation for part in parts]
    yield parts
    for part, name in zip(parts, published, strict=True):
        part.set_experts_implementation(name)


def test_each_experts_implementation_uses_the_k_that_was_set(
    case: Case, choosers: list[PreTrainedModel]
) -> None:
    assert bool(choosers) == (case.text_type not in EAGER_ONLY)
    results = []
    for name in IMPLEMENTATIONS:
        for part in choosers:
            part.set_experts_implementation(name)
        with with_k(case, LOWERED):
            results.append(logits(case))
            histograms = observed(case).by_layer()
        assert all(set(histograms[path]) == {LOWERED} for path in routed_layers(case))
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("model_type", REFUSED)
def test_a_family_with_a_fixed_k_is_refused(model_type: str) -> None:
    if model_type not in CONFIG_MAPPING:
        pytest.skip(f"transformers {transformers.__version__} has no {model_type}")
    schedule = parse_experts_k("2")
    assert schedule is not None
    with pytest.raises(UnsupportedFamilyError, match=model_type):
        schedule.resolve(describe(config_of(model_type)))


def test_every_moe_family_of_transformers_has_a_case() -> None:
    present = [case for case in CASES if not is_missing(case)]
    types = {t for case in present for t in (case.model_type, case.text_type)}
    known = {model_type_to_module_name(t) for t in (*types, *REFUSED)} | set(NOT_MOE)
    unknown = moe_folders() - known
    assert not unknown, (
        f"transformers {transformers.__version__} has MoE families without a case: "
        f"{sorted(unknown)}. Add a row for each to tests/families/tiny_configs.py (with images: "
        "tiny_vision.py), and an entry to moe_eval_plugin/models/families.json"
    )


def moe_folders() -> set[str]:
    """Return the folders of transformers whose classes or configuration keys mention experts."""
    folders = Path(transformers.__file__).with_name("models").iterdir()
    return {folder.name for folder in folders if folder.is_dir() and _mentions_experts(folder)}


def _mentions_experts(folder: Path) -> bool:
    patterns = {"modeling_*.py": MOE_CLASS, "configuration_*.py": MOE_KEY}
    return any(
        pattern.search(path.read_text("utf-8"))
        for glob, pattern in patterns.items()
        for path in folder.glob(glob)
    )


# These have no call of the experts at which the choice of some tokens could be changed alone.
ONE_K_FOR_ALL_TOKENS = {"gemma4", "llama4", "step3p7", "diffusion_gemma"}


@pytest.mark.parametrize("text_k", [LOWERED, RAISED])
def test_text_and_image_tokens_use_their_own_k(present: Case, text_k: int) -> None:
    if not present.image:
        return
    if IS_BEFORE_5_18:
        pytest.skip("experts can be dropped since transformers 5.18")
    schedule = parse_experts_k(f"text:{text_k}/image:3")
    assert schedule is not None
    resolved = schedule.resolve(describe(model_of(present).config))
    if present.id in ONE_K_FOR_ALL_TOKENS:
        with pytest.raises(UnsupportedFamilyError), apply(model_of(present), resolved):
            pass
        return
    published = logits(present)
    with apply(model_of(present), resolved):
        observation = observed(present)
    for path in routed_layers(present):
        assert set(observation.by_layer("text").get(path, {text_k: 1})) == {text_k}
        assert set(observation.by_layer("image").get(path, {3: 1})) == {3}
    assert torch.equal(logits(present), published)
