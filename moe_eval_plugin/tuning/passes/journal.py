"""Store the losses of each pass on disk, so that an interrupted measurement continues.

A journal has a line for each pass: the losses of the prompts of one batch at one request for
experts. Python writes a float so that it reads back as the same one, so a measurement that was
interrupted ends with the very numbers of one that was not.
"""

from __future__ import annotations

import hashlib
import logging
import operator
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.files import JsonLines
from moe_eval_plugin.hardware.device import describe_this_machine
from moe_eval_plugin.results.versions import installed_versions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from moe_eval_plugin.tuning.calibration import CalibrationModel, CalibrationPrompts

logger = logging.getLogger(__name__)
SCHEMA_VERSION = 1
# Lines are put together, since a pass may take less time than the disk.
WRITE_AFTER_S = 1.0
# Fields of a configuration that say which kernels compute, and that its text leaves out.
IMPLEMENTATIONS = ("_attn_implementation", "_experts_implementation")
# So many numbers of each parameter are part of the identity of a model.
N_WEIGHTS = 16


@dataclass(frozen=True)
class BatchLoss:
    """The losses of the prompts of one batch at one request; the request's k was observed."""

    batch: int
    """Number of the batch, from 0."""
    request: str
    """The request, as ``request_key`` writes it."""
    losses: tuple[float, ...]
    """Loss of each prompt, in nats per token of its answer."""
    observation: Mapping[str, Any] | None = None
    """State of the ``Observation`` of the pass; ``None`` where not all passes are observed."""


class LossJournal:
    """The passes of a measurement on disk; ``identity`` is what its numbers depend on.

    The journal of another measurement is replaced, with a warning.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        header = {"schema_version": SCHEMA_VERSION, "content": "losses", **identity}
        self._lines = JsonLines(path, header)
        self._kept = {(one.batch, one.request): one for one in self._lines.read(_batch_loss)}
        self._pending: list[BatchLoss] = []
        self._written_at = time.monotonic()
        if self._lines.is_of_another:
            logger.warning(
                "%s was measured with another model, other prompts, other versions or on another "
                "machine, so it is not continued: all losses are measured again, and replace it.",
                path,
            )

    def get(self, batch: int, request: str, *, observed: bool = False) -> BatchLoss | None:
        """Return what was measured of a batch at a request, ``observed`` with its experts."""
        found = self._kept.get((batch, request))
        return None if found is None or (observed and found.observation is None) else found

    def add(self, loss: BatchLoss) -> None:
        """Add the losses of a pass; they are on the disk within a second of passes, or later."""
        self._kept[loss.batch, loss.request] = loss
        self._pending.append(loss)
        if time.monotonic() - self._written_at >= WRITE_AFTER_S:
            self.write()

    def write(self) -> None:
        """Write what was added to the disk."""
        if self._pending:
            self._lines.append(asdict(one) for one in self._pending)
        self._pending.clear()
        self._written_at = time.monotonic()


def identity(model: CalibrationModel, prompts: CalibrationPrompts) -> dict[str, Any]:
    """Return what losses depend on: model, prompts, machine, versions, as plain JSON data."""
    config = getattr(model.module, "config", None)
    return {
        "model": model.config.pretrained,
        "revision": model.config.revision,
        "weights": _digest_of_weights(model.module),
        "prompts": _digest_of_prompts(prompts),
        "machine": describe_this_machine().name,
        "implementations": [getattr(config, name, None) for name in IMPLEMENTATIONS],
        "versions": installed_versions(),
    }


def _digest_of_weights(model: nn.Module) -> str:
    """Return a digest of names, shapes, types, devices and first numbers of all parameters."""
    digest = hashlib.sha256(str(getattr(model, "config", "")).encode())
    for name, value in model.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype} {value.device.type} ".encode())
        _add(digest, value.flatten()[:N_WEIGHTS])
    return digest.hexdigest()


def _digest_of_prompts(prompts: CalibrationPrompts) -> str:
    digest = hashlib.sha256()
    for batch in prompts.batches:
        digest.update(f"{batch.n_prompt} ".encode())
        for name, value in sorted({**batch.inputs, "answer_ids": batch.answer_ids}.items()):
            digest.update(f"{name} {getattr(value, 'shape', value)} ".encode())
            if isinstance(value, torch.Tensor):
                _add(digest, value)
    return digest.hexdigest()


def _add(digest: Any, value: torch.Tensor) -> None:  # noqa: ANN401  (hashlib has no public class)
    if value.device.type != "meta":
        flat = value.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().data)


def _batch_loss(content: Mapping[str, Any]) -> BatchLoss | None:
    """Read a line; ``None`` for a damaged one."""
    try:
        return BatchLoss(
            batch=operator.index(content["batch"]),
            request=str(content["request"]),
            losses=tuple(map(float, content["losses"])),
            observation=content["observation"],
        )
    except (KeyError, TypeError, ValueError):
        return None
