"""How a schedule or the parameters of a policy were found, and on which questions.

``moe-eval tune`` writes the record into the file of what it found. It travels with every result
that was made with this file, so that a report can judge it on other questions.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from moe_eval_plugin.json_object import JsonObject

if TYPE_CHECKING:
    from collections.abc import Mapping

SEARCH = "search"
# Tasks with the same questions under the same numbers, which differ in the expected answers alone.
SAME_QUESTIONS = {"okvqa_raw": "okvqa"}
Unit = Literal["experts", "flops", "time"]
By = Literal["layer", "modality", "phase"]


@dataclass(frozen=True)
class CalibrationQuestions:
    """The questions of one task whose prompts took part in choosing."""

    task: str
    """Name of the task."""
    host: str
    """The harness whose task it is: ``lmms-eval`` or ``lm-eval``."""
    split: str
    """Split of the data that they are from."""
    doc_ids: tuple[int, ...]
    """The host's numbers of the questions in this split."""
    is_evaluated: bool
    """Whether the task asks the questions of this split: they must not be scored then."""

    @classmethod
    def from_dict(cls, values: JsonObject) -> CalibrationQuestions:
        """Build the record from its stored fields; ``DataError`` for a wrong type."""
        return cls(
            task=values.need_text("task"),
            host=values.need_text("host"),
            split=values.need_text("split"),
            doc_ids=values.integers("doc_ids"),
            is_evaluated=values.flag("is_evaluated"),
        )


@dataclass(frozen=True)
class TuningRecord:
    """Where a schedule or the parameters of a policy come from.

    Losses are Kullback-Leibler divergences from the published model, in nats per token of an
    answer; prices are shares of the published model's price.
    """

    name: str
    """Name of what was found, for instance ``tuned-0.5``."""
    method: str
    """``search``, or the name of the policy whose parameters were calibrated."""
    model: str
    """The model, as the user named it."""
    revision: str | None
    """Commit of the model on the Hub."""
    unit: Unit
    """What the price counts: routed experts per token, FLOPs, or measured time."""
    target: float
    """The largest price that was allowed."""
    price: float
    """The price as predicted: at most ``target``."""
    by: By = "layer"
    """What k may differ by; with modality and phase by layer too."""
    predicted_loss: float | None = None
    """Sum of the losses of each change alone; ``None`` for a policy."""
    measured_loss: float | None = None
    """Loss of all changes together, on the calibration prompts."""
    uniform_k: int | None = None
    """The largest k that, used everywhere, costs no more."""
    uniform_loss: float | None = None
    """The loss of that k, on the same prompts."""
    n_tried: int = 0
    """Settings whose loss was measured on the calibration prompts, over all targets."""
    data_free: bool = False
    """Whether random tokens took the place of prompts."""
    seed: int = 0
    """Seed of the choice of questions."""
    questions: tuple[CalibrationQuestions, ...] = ()
    """The questions whose prompts were used; empty with ``data_free``."""
    date: str | None = None
    """When it was found, in ISO 8601."""
    versions: Mapping[str, str | None] = field(default_factory=dict)
    """Version of each package that took part."""

    @property
    def is_of_policy(self) -> bool:
        """Whether parameters of a policy were calibrated, and no schedule was searched for."""
        return self.method != SEARCH

    def doc_ids(self, task: str) -> frozenset[int]:
        """Return the numbers of a task's own questions that took part in choosing.

        Those of a task with the same questions count too.
        """
        wanted = _named(task)
        own = (one for one in self.questions if _named(one.task) == wanted and one.is_evaluated)
        return frozenset(doc_id for one in own for doc_id in one.doc_ids)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain data, for JSON and YAML."""
        content = asdict(self)
        content["versions"] = dict(self.versions)
        content["questions"] = [
            {**asdict(one), "doc_ids": list(one.doc_ids)} for one in self.questions
        ]
        return content

    @classmethod
    def from_dict(cls, values: JsonObject) -> TuningRecord:
        """Build the record from what ``to_dict`` stored; ``DataError`` for a wrong type."""
        versions = values.item("versions") or JsonObject({})
        questions = values.items("questions")
        return cls(
            name=values.need_text("name"),
            method=values.need_text("method"),
            model=values.need_text("model"),
            revision=values.text("revision"),
            unit=values.choice("unit", ("experts", "flops", "time")) or "experts",
            target=values.need_number("target"),
            price=values.need_number("price"),
            by=values.choice("by", ("layer", "modality", "phase")) or "layer",
            predicted_loss=values.number("predicted_loss"),
            measured_loss=values.number("measured_loss"),
            uniform_k=values.integer("uniform_k"),
            uniform_loss=values.number("uniform_loss"),
            n_tried=values.integer("n_tried") or 0,
            data_free=values.flag("data_free"),
            seed=values.integer("seed") or 0,
            questions=tuple(CalibrationQuestions.from_dict(one) for one in questions),
            date=values.text("date"),
            versions={name: versions.text(name) for name in versions.values},
        )


def _named(task: str) -> str:
    """Return one name for all tasks with the same questions."""
    return SAME_QUESTIONS.get(task, task)
