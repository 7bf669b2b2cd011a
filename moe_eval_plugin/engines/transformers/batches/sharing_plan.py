"""Decide for each task whether its questions share images, and encode those that do."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.transformers.batches.shared_inputs import (
    encode_shared,
)
from moe_eval_plugin.engines.transformers.batches.sharing_check import find_difference
from moe_eval_plugin.engines.transformers.batches.sharing_limits import (
    reason_of_model,
    reason_of_settings,
)
from moe_eval_plugin.engines.transformers.shared.images import digest_of_images, shareable_tower
from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from moe_eval_plugin.engines.request import Conversation, Job
    from moe_eval_plugin.engines.transformers.encoding import Encoded
    from moe_eval_plugin.engines.transformers.engine import HFEngine

logger = logging.getLogger(__name__)

NOT_ASKED = "share_images=no"
NO_TWO = "no two questions are known to have the same image"


@dataclass
class SharingPlan:
    """Which questions of a run share their image."""

    reasons: dict[str, str | None]
    """Why the questions of a task share nothing; ``None`` for a task that shares."""
    keeps_images: bool = False
    """Whether the image tower's outputs are kept for other settings of a sweep."""
    keys: dict[Job, Hashable] = field(default_factory=dict)
    """What is equal for questions with the same image, of the tasks that share."""

    def key(self, job: Job) -> Hashable | None:
        """Return what is equal for jobs that share an image; ``None`` for one that shares none."""
        return self.keys.get(job)

    def part(self, jobs: Sequence[Job]) -> None:
        """Remove jobs from those that share images: each is encoded alone from now on."""
        for job in jobs:
            self.keys.pop(job, None)

    def describe(self, task: str) -> dict[str, Any]:
        """Describe what is shared in a task, as plain JSON data."""
        reason = self.reasons.get(task, NO_TWO)
        return {
            "shared": reason is None,
            "reason": reason,
            "kept_for_other_settings": self.keeps_images,
        }

    def encode(
        self, engine: HFEngine, jobs: Sequence[Job], conversations: Sequence[Conversation]
    ) -> Encoded:
        """Encode conversations, one for each job, images once where they are shared.

        Raises ``CannotShareError`` where jobs with the same key cannot share, and what the
        processor raises.
        """
        groups = [
            [conversation for _, conversation in members]
            for _, members in groupby(
                zip(jobs, conversations, strict=True),
                key=lambda pair: self.keys.get(pair[0], pair[0]),
            )
        ]
        if all(len(group) == 1 for group in groups):
            encoded = engine.encode(conversations)
        else:
            encoded = encode_shared(engine, [[*map(engine.prepared, one)] for one in groups])
        if not self.keeps_images:
            return encoded
        return replace(encoded, images=digest_of_images(encoded.tensors))


def plan_sharing(engine: HFEngine, jobs: Sequence[Job], share_images: str) -> SharingPlan:
    """Decide what the jobs of each task share.

    ``share_images`` is the option of this name. Raises ``InvalidArgumentError`` for ``yes`` where
    a task cannot share.
    """
    by_task: dict[str, list[Job]] = {}
    for job in jobs:
        by_task.setdefault(job.task, []).append(job)
    if share_images == "no":
        return SharingPlan(dict.fromkeys(by_task, NOT_ASKED))
    keeps = engine.image_outputs is not None and shareable_tower(engine.model) is not None
    plan = SharingPlan({}, keeps)
    for task, mine in by_task.items():
        reason = plan.reasons[task] = _decide(engine, mine, plan)
        if reason is not None and share_images == "yes":
            message = (
                f"share_images=yes is not possible for {task} with {engine.options.pretrained}: "
                f"{reason}. Use share_images=auto, which shares what can be shared."
            )
            raise InvalidArgumentError(message)
        logger.info("%s: images are %s", task, f"not shared: {reason}" if reason else "shared")
    return plan


def _decide(engine: HFEngine, jobs: Sequence[Job], plan: SharingPlan) -> str | None:
    """Add the keys of one task's jobs to a plan, or return why they share nothing."""
    for job in jobs:
        reason = reason_of_settings(job.settings)
        if reason is not None:
            return reason
    keys = {
        job: (job.settings.key, key) for job in jobs if (key := job.read_image_key()) is not None
    }
    by_key: dict[Hashable, list[Job]] = {}
    for job, key in keys.items():
        by_key.setdefault(key, []).append(job)
    several = [mine for mine in by_key.values() if len(mine) > 1]
    if not several:
        return NO_TWO
    reason = reason_of_model(engine) or find_difference(engine, several)
    if reason is None:
        plan.keys.update(keys)
    return reason
