"""Policies calibrated on the demo model: real prompts with images, real passes, a real file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.experts.schedules.routing_rule import RoutingRule
from moe_eval_plugin.experts.schedules.tuned_file import TunedFile
from moe_eval_plugin.override.observe import observe
from moe_eval_plugin.plugins import MeasuredPolicy, PolicyCalibration
from moe_eval_plugin.tuning.policies.calibrate import calibrate_policy
from tests.engines.transformers.batches.image_jobs import conversation, picture, questions
from tests.experts.schedules.tuned_files import write_tuned_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from moe_eval_plugin.experts.observation import Observation

K = 8
LAYERS = (0, 1, 2, 3)
TARGET = 0.5


class DemoModel:
    """The demo model with some prompts, and the losses of each of its layers at k=1."""

    def __init__(self) -> None:
        self.engine = HFEngine(EngineOptions("demo", dtype="float32"))
        prompts = [conversation([picture(number)], text) for number, text in questions(4, 3)]
        self.inputs = self.engine.encode(prompts).tensors
        self.published, _ = self.run()
        self.losses = {layer: {1: self.loss_at(f"8/{layer}:1")} for layer in LAYERS}

    @torch.inference_mode()
    def run(
        self, experts_k: object = None, policy: str | None = None
    ) -> tuple[torch.Tensor, Observation]:
        self.engine.set_experts(experts_k, policy)
        with observe(self.engine.model) as pending:
            logits = self.engine.model(**self.inputs).logits[:, -1].float()
        return logits.log_softmax(-1), pending.result()

    def loss_at(self, experts_k: object) -> float:
        return self._loss(self.run(experts_k)[0])

    def measure(
        self, policy: str, parameters: Sequence[float | tuple[float, ...]]
    ) -> MeasuredPolicy:
        text = RoutingRule(policy, tuple(parameters)).policy_text
        logits, seen = self.run(None, text)
        mean_k = seen.mean_k()
        assert mean_k is not None
        by_modality = seen.mean_k(modality="text"), seen.mean_k(modality="image")
        return MeasuredPolicy(self._loss(logits), mean_k, *by_modality)

    def calibration(self, policy: str) -> PolicyCalibration:
        return PolicyCalibration(
            policy=policy,
            target=TARGET,
            baseline=K,
            layers=LAYERS,
            measure=lambda parameters: self.measure(policy, parameters),
            n_prompts=len(self.published),
            has_images=True,
            losses_by_layer=self.losses,
            losses_by_modality={},
        )

    def _loss(self, logits: torch.Tensor) -> float:
        published = self.published
        return float((published.exp() * (published - logits)).sum(-1).mean())


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoModel]:
    demo = DemoModel()
    yield demo
    demo.engine.close()


def test_calibrated_policies_keep_to_the_target_and_are_read_from_their_files(
    demo: DemoModel, tmp_path: Path
) -> None:
    losses = {}
    for policy in ("top_p", "threshold", "entropy", "modes"):
        parameters = calibrate_policy(policy, demo.calibration(policy))
        found = demo.measure(policy, parameters)
        assert 1 < found.mean_k <= TARGET * K
        text = RoutingRule(policy, parameters).policy_text
        file = tmp_path / f"{policy}.yaml"
        write_tuned_file(file, TunedFile(policy=text))
        _, seen = demo.run(None, f"@{file}")
        assert seen.mean_k() == found.mean_k
        losses[policy] = found.loss
        if policy == "modes":
            # The thresholds of the two modalities are not the same, and tokens show it.
            assert parameters[0] != parameters[1]
            assert seen.mean_k(modality="text") != seen.mean_k(modality="image")
    # One that knows which layers matter loses least here, and less than k=3 for every token.
    assert losses["modes"] == min(losses.values()) < demo.loss_at(3)
