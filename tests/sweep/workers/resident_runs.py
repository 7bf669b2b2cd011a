from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.sweep.workers.input_cache import InputCache
from moe_eval_plugin.sweep.workers.journal import Journal
from moe_eval_plugin.sweep.workers.resident_model import (
    ResidentMoEHF,
    SweepContext,
)
from tests.hosts.lmms_eval.easy_requests import N_QUESTIONS, request

if TYPE_CHECKING:
    from pathlib import Path


GIB = 2**30


ARGUMENTS = {"pretrained": "demo", "batch_size": 4, "dtype": "float32"}


def surround(model: ResidentMoEHF, path: Path, inputs: InputCache | None = None) -> list[int]:
    """Give the model a journal and an empty memory; return where it tells of its progress."""
    told: list[int] = []
    journal = Journal(path, {})
    model.surroundings = SweepContext(inputs or InputCache(GIB), journal, told.append)
    return told


def become(model: ResidentMoEHF, experts_k: object, **more: object) -> None:
    given = {**ARGUMENTS, "experts_k": experts_k, **more}
    model.become(",".join(f"{name}={value}" for name, value in given.items()))


def answer(model: Any) -> list[str]:
    return [one.text for one in model.generate_until([request(i) for i in range(N_QUESTIONS)])]
