"""The result schema: one record per task and k, which stands beside the host's scores.

"Not measured" is ``None``, never 0. Every record names its schema version.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from moe_eval_plugin.timing import BatchTiming
    from moe_eval_plugin.verification import VerifiedOverride

SCHEMA_VERSION = 1
PACKAGES = ("moe-eval-plugin", "lmms-eval", "torch", "transformers", "accelerate", "datasets")


@dataclass(frozen=True)
class TaskSpeed:
    """The work that one task took, over all ranks.

    ``wall_s`` is the slowest rank's; counts are sums. ``samples_per_s`` is ``None`` when no
    time passed, because nothing was run.
    """

    n_samples: int
    n_input_tokens: int
    n_output_tokens: int
    wall_s: float

    @property
    def samples_per_s(self) -> float | None:
        """Answered samples of all ranks, by the slowest rank's wall time."""
        return self.n_samples / self.wall_s if self.wall_s > 0 else None


@dataclass(frozen=True)
class RunRecord:
    """What is known of one task of one run, beside the scores that the host computes."""

    task: str
    experts: VerifiedOverride
    speed: TaskSpeed
    provenance: Mapping[str, Any]

    def rows(self) -> dict[str, float | None]:
        """Give the values for the host's results table, by metric name.

        A schedule of several k has no single ``num_experts_per_tok``.
        """
        asked = self.experts.requested if self.experts.experts_k else self.experts.baseline
        return {
            "baseline_num_experts_per_tok": self.experts.baseline,
            "num_experts_per_tok": asked,
            "observed_num_experts_per_tok": self.experts.observed,
            **self._rows_by_modality(),
            "samples_per_s": self.speed.samples_per_s,
        }

    def _rows_by_modality(self) -> dict[str, float | None]:
        """Give a row for text and for image tokens where they used different k."""
        text, image = self.experts.observed_text, self.experts.observed_image
        if text is None or image is None or text == image:
            return {}
        return {
            "observed_num_experts_per_tok_text": text,
            "observed_num_experts_per_tok_image": image,
        }

    def to_dict(self) -> dict[str, Any]:
        """Give the record as it is stored: plain JSON values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "task": self.task,
            "experts": self.experts.to_dict(),
            "speed": {**asdict(self.speed), "samples_per_s": self.speed.samples_per_s},
            "provenance": dict(self.provenance),
        }


HIGHER_IS_BETTER = {"samples_per_s": True}


def summarise(ranks: Iterable[Sequence[BatchTiming]]) -> dict[str, TaskSpeed]:
    """Add up the batches of each task over ranks; the slowest rank decides the wall time."""
    per_rank = [_by_task(batches) for batches in ranks]
    tasks = dict.fromkeys(task for speeds in per_rank for task in speeds)
    return {
        task: _add_up([speeds[task] for speeds in per_rank if task in speeds], max)
        for task in tasks
    }


def installed_versions() -> dict[str, str | None]:
    """Give the version of each package that a result depends on; ``None`` if it is absent."""
    return {name: _version(name) for name in PACKAGES}


def _by_task(batches: Sequence[BatchTiming]) -> dict[str, TaskSpeed]:
    tasks = dict.fromkeys(batch.task for batch in batches)
    return {
        task: _add_up([batch for batch in batches if batch.task == task], sum) for task in tasks
    }


def _add_up(
    parts: Sequence[BatchTiming | TaskSpeed], wall_s: Callable[[Iterable[float]], float]
) -> TaskSpeed:
    """Add counts; times add up over batches, and over ranks the longest one is taken."""
    return TaskSpeed(
        n_samples=sum(part.n_samples for part in parts),
        n_input_tokens=sum(part.n_input_tokens for part in parts),
        n_output_tokens=sum(part.n_output_tokens for part in parts),
        wall_s=wall_s(part.wall_s for part in parts),
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
