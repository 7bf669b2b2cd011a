"""Sensitivities and joint losses: real passes, verified k, and a journal that continues."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
import torch

from moe_eval_plugin.errors import InvalidExpertCountError, NotFiniteError, UnsupportedFamilyError
from moe_eval_plugin.experts.verification import OverrideNotEffectiveError
from moe_eval_plugin.hardware.device import DeviceFacts
from moe_eval_plugin.testing import tiny_moe
from moe_eval_plugin.tuning.cells import Cell, cells_of
from moe_eval_plugin.tuning.passes import journal as journals
from moe_eval_plugin.tuning.passes import shared as shared_passes
from moe_eval_plugin.tuning.passes.measure import (
    cell_candidates,
    measure_losses,
    measure_sensitivities,
)
from moe_eval_plugin.tuning.passes.measuring import Measuring
from moe_eval_plugin.tuning.passes.shared import SharedPasses
from tests.tuning.passes.calibrations import (
    ANSWERS,
    Counting,
    Loaded,
    family,
    loaded,
    prompts,
    with_answers,
)

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.tuning.calibration import CalibrationPrompts
    from moe_eval_plugin.tuning.sensitivities import Sensitivities

KS = (1, 2)


@pytest.fixture(scope="module")
def model() -> Loaded:
    return loaded(tiny_moe())


@pytest.fixture(scope="module")
def texts(model: Loaded) -> CalibrationPrompts:
    one = with_answers(model, {"input_ids": torch.arange(2, 14)[None]})
    other = with_answers(model, {"input_ids": torch.arange(30, 40)[None]}, ANSWERS[::-1])
    return prompts(one, other)


def measure(
    model: Loaded, texts: CalibrationPrompts, path: Path, by: Any = "layer", progress: Any = None
) -> Sensitivities:
    cells = cells_of(model.config.moe_layers, by)
    return measure_sensitivities(model, texts, cells, KS, path, progress or Counting())


def numbers(found: Sensitivities) -> dict[object, list[float]]:
    return {at: loss.by_prompt.tolist() for at, loss in found.losses.items()}


def whole(
    model: Loaded, texts: CalibrationPrompts, path: Path, by: Any = "layer"
) -> dict[object, list[float]]:
    found = cell_candidates(model.config, cells_of(model.config.moe_layers, by), KS)
    chosen = list(found.values())
    shared = SharedPasses(model, texts, whole=True)
    measuring = Measuring(model, texts, chosen, path, Counting(), observes=False, shared=shared)
    losses = measuring.run()
    return {
        at: [loss for batch in losses[one.name] for loss in batch.losses]
        for at, one in found.items()
    }


def test_losses_are_those_of_whole_passes(
    model: Loaded, texts: CalibrationPrompts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Counting()
    found = measure(model, texts, tmp_path / "a", progress=progress)
    assert numbers(found) == whole(model, texts, tmp_path / "b")
    assert found.ks == (1, 2, 4)
    assert found.cells == tuple(Cell(n) for n in range(3))
    assert progress.total == progress.done == len(found.losses) * 2
    assert not caplog.records
    # Without answers there is no loss, so this is not 0 for another reason.
    assert all(loss > 0 for losses in numbers(found).values() for loss in losses)
    assert model.at_k.request.resolved is None


def test_image_tokens_and_answers_have_sensitivities_of_their_own(tmp_path: Path) -> None:
    model, batch = family("ernie4_5_vl_moe")
    for by in ("modality", "phase"):
        found = measure(model, prompts(batch), tmp_path / by, by)
        assert numbers(found) == whole(model, prompts(batch), tmp_path / f"{by} whole", by)
        differing = {tuple(losses) for losses in numbers(found).values()}
        # What the last layer computes for image tokens reaches no answer.
        unseen = 2 if by == "modality" else 0
        assert len(differing) == len(found.losses) - unseen + bool(unseen)
        # The first answer has one token, so nothing of it is decoded.
        last = {Cell(1, modality="image")}
        decoded = {cell for cell in found.cells if cell.phase == "decode"}
        losses = {at: loss.by_prompt for at, loss in found.losses.items()}
        assert all((losses[cell, k][0] == 0) == (cell in decoded | last) for cell, k in losses)


def test_a_killed_measurement_ends_with_the_same_numbers(
    model: Loaded, texts: CalibrationPrompts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "WRITE_AFTER_S", 0.0)
    path, left = tmp_path / "losses.jsonl", tmp_path / "left.jsonl"

    class Killed(Counting):
        """Keeps what is on the disk after some passes, the last line cut off."""

        def advance(self, n: int = 1) -> None:
            super().advance(n)
            if self.done == 8:
                left.write_bytes(path.read_bytes()[:-5])

    found = measure(model, texts, path, progress=Killed())
    rest = Counting()
    assert numbers(measure(model, texts, left, progress=rest)) == numbers(found)
    assert rest.total == rest.done == 12 - 7
    nothing = Counting()
    assert numbers(measure(model, texts, path, progress=nothing)) == numbers(found)
    assert nothing.total == 0


def test_the_journal_of_something_else_is_not_continued(
    model: Loaded, texts: CalibrationPrompts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "losses.jsonl"
    first = measure(model, texts, path)
    assert not caplog.records
    others, again = prompts(*reversed(texts.batches)), Counting()
    found = measure(model, others, path, progress=again)
    assert again.total == 12
    assert "all losses are measured again" in caplog.text
    caplog.clear()
    measure(loaded(tiny_moe(seed=1)), others, path)
    assert "all losses are measured again" in caplog.text
    order = [2, 3, 0, 1]
    assert numbers(found) == {at: [one[i] for i in order] for at, one in numbers(first).items()}


def test_joint_losses_come_with_the_experts_of_all_prompts(
    model: Loaded, texts: CalibrationPrompts, tmp_path: Path
) -> None:
    requests = {
        "published": model.config.request(4),
        "late": model.config.request("4/2:1"),
        "mixed": model.config.request("prefill:3/decode:2"),
        "policy": model.config.request(None, "top_p:0.6"),
    }
    found = measure_losses(model, texts, requests, tmp_path / "losses.jsonl", Counting())
    assert found["published"].loss.by_prompt.tolist() == [0.0] * 4
    assert found["published"].mean_k == 4
    assert found["late"].mean_k == 3
    assert [found["late"].mean_k_of(n) for n in range(3)] == [4, 4, 1]
    one = numbers(measure(model, texts, tmp_path / "cells.jsonl"))[Cell(2), 1]
    assert found["late"].loss.by_prompt.tolist() == one
    mixed = found["mixed"]
    assert [mixed.mean_k_of(phase=phase) for phase in ("prefill", "decode")] == [3, 2]
    # 12 and 10 columns, two of them padding in a row; two tokens of the longer answer are fed.
    assert mixed.observation.n_tokens("text", "prefill") == 12 + 10 + 10 + 8
    assert mixed.observation.n_tokens("text", "decode") == 4
    assert 1 < found["policy"].mean_k < 4
    assert found["policy"].mean_k_of(modality="image") is None
    nothing = Counting()
    again = measure_losses(model, texts, requests, tmp_path / "losses.jsonl", nothing)
    assert nothing.total == 0
    assert {name: one.observation for name, one in again.items()} == {
        name: one.observation for name, one in found.items()
    }


@pytest.mark.parametrize("is_kept", [True, False])
def test_measurements_of_one_study_share_checks_and_published_passes(
    model: Loaded,
    texts: CalibrationPrompts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_kept: bool,
) -> None:
    path = tmp_path / "losses.jsonl"
    cells = cells_of(model.config.moe_layers, "layer")
    alone = numbers(measure(model, texts, tmp_path / "alone.jsonl"))
    if not is_kept:
        monkeypatch.setattr(shared_passes, "KEPT_SHARE", 0.0)
    shared, passes = SharedPasses(model, texts), 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    def losses(policy: str) -> Any:
        requests = {policy: model.config.request(None, policy)}
        return measure_losses(model, texts, requests, path, Counting(), shared)[policy].loss

    hook = model.module.register_forward_hook(count)
    try:
        found = measure_sensitivities(model, texts, cells, KS, path, Counting(), shared)
        # The published pass of each of two batches, twelve losses, and the checks: a pass again,
        # one from each of three layers, and two of each of three candidates.
        assert passes == 2 + 12 + 1 + 3 + 2 * 3
        passes = 0
        several = [losses(f"top_p:{share}") for share in (0.6, 0.7, 0.8)]
    finally:
        hook.remove()
    assert passes == 3 * 2 + (0 if is_kept else 3 * 2)
    assert numbers(found) == alone
    one = {"again": model.config.request(None, "top_p:0.7")}
    again = measure_losses(model, texts, one, tmp_path / "other.jsonl", Counting())
    assert several[1].by_prompt.tolist() == again["again"].loss.by_prompt.tolist()


def test_layers_that_share_states_run_in_whole_passes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sharing = loaded(tiny_gemma4())
    one = prompts(with_answers(sharing, {"input_ids": torch.arange(2, 14)[None]}))
    found = measure(sharing, one, tmp_path / "a")
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert "every pass computes all layers" in warning.getMessage()
    assert "a pass from layer" in warning.getMessage()
    assert numbers(found) == whole(sharing, one, tmp_path / "b")


def tiny_gemma4() -> Any:
    """Build a model whose last layers use the keys and values of earlier ones."""
    from tests.families.contract import AUTO_CLASSES, config_of
    from tests.families.tiny_configs import text_settings

    settings = text_settings("gemma4_text")
    settings |= {"num_hidden_layers": 4, "num_kv_shared_layers": 2}
    settings["layer_types"] = ["sliding_attention", "full_attention"] * 2
    config = type(config_of("gemma4_text"))(**settings)
    auto = next(one for one in AUTO_CLASSES if type(config) in one._model_mapping)
    from moe_eval_plugin.testing import fill_with_noise

    model = auto.from_config(config)
    fill_with_noise(model)
    return model.eval()


def test_a_k_that_tokens_do_not_use_has_no_loss(texts: CalibrationPrompts, tmp_path: Path) -> None:
    model = loaded(tiny_moe())
    set_k = model.at_k.set
    model.at_k.set = lambda request, **_: set_k(  # type: ignore[method-assign]
        model.config.request("4/1:3") if request.resolved else request
    )
    with pytest.raises(OverrideNotEffectiveError):
        measure(model, texts, tmp_path / "losses.jsonl")
    assert not (tmp_path / "losses.jsonl").exists()


def test_what_is_not_a_number_is_an_error(texts: CalibrationPrompts, tmp_path: Path) -> None:
    module = tiny_moe()
    with torch.no_grad():
        module.get_submodule("model.layers.1.mlp.experts").down_proj.fill_(torch.nan)
    with pytest.raises(NotFiniteError, match=r"is model\.layers\.1\.mlp\.experts"):
        measure(loaded(module), texts, tmp_path / "losses.jsonl")


def test_what_no_prompt_can_show_is_refused_before_any_pass(
    model: Loaded, texts: CalibrationPrompts, tmp_path: Path
) -> None:
    with pytest.raises(InvalidExpertCountError, match="distinguishes image tokens"):
        measure(model, texts, tmp_path / "a", "modality")
    short = prompts(with_answers(model, {"input_ids": torch.arange(2, 14)[None]}, ANSWERS[:1]))
    with pytest.raises(InvalidExpertCountError, match="distinguishes decode tokens"):
        measure(model, short, tmp_path / "a", "phase")
    jet, batch = family("jetmoe")
    with pytest.raises(UnsupportedFamilyError, match="a prompt and its answer in one pass"):
        measure(jet, prompts(batch), tmp_path / "a", "phase")


def test_a_journal_of_another_machine_or_implementation_is_not_continued(
    model: Loaded, texts: CalibrationPrompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = journals.identity(model, texts)
    assert journals.identity(model, texts) == here
    with monkeypatch.context() as patched:
        patched.setattr(journals, "describe_this_machine", lambda: DeviceFacts("cuda", "another"))
        assert journals.identity(model, texts) != here
    monkeypatch.setattr(model.module.config, "_attn_implementation", "eager")
    assert journals.identity(model, texts) != here
