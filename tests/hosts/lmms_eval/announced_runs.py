"""What plugins are told of a run, and what its records say: equal for every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

from moe_eval_plugin.hosts.lmms_eval import model as shared
from moe_eval_plugin.plugins import BatchEnd, RunEnd, RunStart, hookimpl, hookspecs
from tests.hosts.lmms_eval.easy_requests import SPLIT, TASK, messages, questions, request
from tests.hosts.lmms_eval.easy_requests import scoring_request as score

if TYPE_CHECKING:
    import pytest

    from moe_eval_plugin.hosts.lmms_eval.model import MoEModel

OTHER = "other"
PROVENANCE = {
    "pretrained",
    "revision",
    "routed_flop_share",
    "model_class",
    "experts_k",
    "experts_policy",
    "renorm",
    "warnings",
    "dtype",
    "device",
    "batch_size",
    "checkpoint_generation",
    "hardware",
    "n_ranks",
    "seed",
    "system_prompt",
    "unanswerable",
    "chat_template_kwargs",
    "versions",
}
OF_RECORDS = {
    *PROVENANCE,
    "energy",
    "generation",
    "plugin_failures",
    "n_unanswered",
    "unanswered",
}

# Two questions of one task and one of another; multiple choice has two requests for each.
EXPECTED = [
    ("start", {TASK: 2, OTHER: 1}, {TASK, OTHER}),
    ("batch", TASK, 1, 1, 3),
    ("batch", TASK, 1, 2, 3),
    ("batch", OTHER, 1, 3, 3),
    ("end", {TASK: 2, OTHER: 1}),
    ("start", {TASK: 4, OTHER: 2}, {TASK, OTHER}),
    ("batch", TASK, 1, 2, 6),
    ("batch", TASK, 1, 4, 6),
    ("batch", OTHER, 1, 6, 6),
    ("end", {TASK: 2, OTHER: 1}),
    ("start", {TASK: 2, OTHER: 1}, {TASK, OTHER}),
    ("batch", TASK, 1, 1, 3),
    ("batch", TASK, 1, 2, 3),
    ("batch", OTHER, 1, 3, 3),
    ("end", {TASK: 2, OTHER: 1}),
]


class Listener:
    """A plugin that keeps the events of runs as plain data."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.provenance: list[set[str]] = []

    @hookimpl
    def moe_eval_run_start(self, event: RunStart) -> None:
        self.provenance.append(set(event.provenance))
        self.events.append(("start", dict(event.n_requests), set(event.experts)))

    @hookimpl
    def moe_eval_batch_end(self, event: BatchEnd) -> None:
        timing = event.timing
        found = ("batch", timing.task, timing.n_samples, event.n_done, event.n_requests)
        self.events.append(found)

    @hookimpl
    def moe_eval_run_end(self, event: RunEnd) -> None:
        counts = {task: one.speed.n_samples for task, one in event.records.items()}
        self.events.append(("end", counts))


def listening(monkeypatch: pytest.MonkeyPatch) -> Listener:
    """Let models that are built from now on call one plugin alone."""
    manager, listener = pluggy.PluginManager(hookspecs.PROJECT), Listener()
    manager.add_hookspecs(hookspecs)
    manager.register(listener)
    monkeypatch.setattr(shared, "plugin_manager", lambda: manager)
    return listener


def run_all_kinds(model: MoEModel) -> None:
    """Run requests of two tasks and of each kind, one at a time."""
    model.task_dict = {name: {SPLIT: questions()} for name in (TASK, OTHER)}
    asked = [(0, TASK), (1, OTHER), (2, TASK)]
    texts = model.generate_until([request(i, task=task) for i, task in asked])
    assert all(one.text for one in texts)
    choices = [score(i, text, task) for i, task in asked for text in ("red", "a blue circle")]
    scores = model.loglikelihood(choices)
    assert len({round(one, 3) for one, _ in scores}) == len(choices)
    rounds = [request(i, two_rounds, task) for i, task in asked]
    assert [len(one) for one in model.generate_until_multi_round(rounds)] == [2, 2, 2]


def two_rounds(doc: dict[str, Any], round_idx: int | None = None, **_: object) -> Any:
    asked = messages(doc)
    return asked if round_idx is None else (asked, round_idx == 2, None, None)


def seen(model: MoEModel, listener: Listener) -> tuple[Any, ...]:
    """What plugins were told in ``run_all_kinds``, and the provenance in events and records."""
    records = [set(model.moe_eval_records[task].provenance) for task in (TASK, OTHER)]
    return listener.events, listener.provenance, records


def alike(own: set[str], of_records: set[str]) -> tuple[Any, ...]:
    """What ``seen`` must return for an engine with provenance of its ``own``."""
    return EXPECTED, [PROVENANCE | own] * 3, [OF_RECORDS | own | of_records] * 2
