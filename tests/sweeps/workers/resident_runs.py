from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.sweeps.workers.batch_store import SweepBatches
from moe_eval_plugin.sweeps.workers.input_cache import InputCache
from moe_eval_plugin.sweeps.workers.journal import Journal
from tests.hosts.lmms_eval.easy_requests import N_QUESTIONS, request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.sweeps.workers.lmms_eval_model import ResidentMoEHF


GIB = 2**30


ARGUMENTS = {"pretrained": "demo", "batch_size": 4, "dtype": "float32"}


class Heard:
    """Keeps the calls of a sweep's progress."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.sizes: list[int] = []

    def doing(self, what: str) -> None:
        self.steps.append(what)

    def verified(self, experts: Mapping[str, VerifiedOverride]) -> None:
        self.steps += [one.text for one in experts.values()]

    def answered(self, n_requests: int, *, earlier: bool = False) -> None:
        self.sizes.append(n_requests)
        self.steps += ["found"] * earlier


def keep_batches(model: ResidentMoEHF, path: Path, inputs: InputCache | None = None) -> list[int]:
    """Store the model's batches in a journal and a cache; return the sizes of those answered."""
    heard = Heard()
    model.store = SweepBatches(inputs or InputCache(GIB), Journal(path, {}), heard.answered)
    return heard.sizes


def switch_to(model: ResidentMoEHF, experts_k: object, **more: object) -> None:
    given = {**ARGUMENTS, "experts_k": experts_k, **more}
    model.switch_to(",".join(f"{name}={value}" for name, value in given.items()))


def answer(model: Any) -> list[str]:
    return [one.text for one in model.generate_until([request(i) for i in range(N_QUESTIONS)])]
