"""Several checkpoints of one model in one sweep, each with the same questions at the same k."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.harness import harness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.engines.expert_request import ModelConfig

# Arguments of a model that name its checkpoint.
OF_A_CHECKPOINT = ("pretrained", "model", "revision")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, and the subfolder of its results."""

    pretrained: str
    """A folder, or an id of the Hub."""
    revision: str | None
    """Branch, tag or commit; ``None`` where none is named."""
    folder: str
    """Name of the subfolder."""

    @property
    def text(self) -> str:
        """The checkpoint as the user named it."""
        return self.pretrained if self.revision is None else f"{self.pretrained}@{self.revision}"

    def model_args(self, others: str, host: str) -> str:
        """Return the arguments of a model with those that name this checkpoint.

        Raises ``InvalidArgumentError`` where the others name a checkpoint too.
        """
        of_host = harness(host)
        for name in OF_A_CHECKPOINT:
            if name in of_host.argument_names(others):
                message = (
                    f"--model-args with {name}= and --checkpoints are not possible together: both "
                    "name the model. Leave it out of --model-args."
                )
                raise InvalidArgumentError(message)
        named = {"pretrained": self.pretrained}
        if self.revision is not None:
            named["revision"] = self.revision
        parts = (of_host.write_arguments(named), others)
        return of_host.join_texts(part for part in parts if part)


def read_checkpoints(texts: Sequence[str]) -> tuple[Checkpoint, ...]:
    """Return the checkpoints that ``--checkpoints`` names: folders, ids, or ``ID@REVISION``.

    Raises ``InvalidArgumentError`` for a single one, and for one that is named twice.
    """
    if len(texts) == 1:
        message = (
            f"--checkpoints {texts[0]} is one checkpoint, and one says nothing about others. Name "
            f"two or more, or sweep it with --model-args pretrained={texts[0]}."
        )
        raise InvalidArgumentError(message)
    named = [_split(text) for text in texts]
    places = [Path(name).resolve() if Path(name).is_dir() else name for name, _ in named]
    seen = list(zip(places, (revision for _, revision in named), strict=True))
    for number, one in enumerate(seen):
        if one in seen[:number]:
            message = f"--checkpoints names {texts[number]} twice. Name each checkpoint once."
            raise InvalidArgumentError(message)
    folders = _folders([(*PurePath(name).parts, *((r and [r]) or [])) for name, r in named])
    return tuple(Checkpoint(*one, folder) for one, folder in zip(named, folders, strict=True))


def check_alike(models: Sequence[tuple[Checkpoint, ModelConfig]]) -> None:
    """Raise ``InvalidArgumentError`` for checkpoints that are not of one architecture.

    Their configurations are compared, before any weight is read.
    """
    first, *others = [(one, _facts(model)) for one, model in models]
    for one, facts in others:
        differ = [name for name in facts if facts[name] != first[1][name]]
        if differ:
            listed = "; ".join(f"{name}: {first[1][name]} and {facts[name]}" for name in differ)
            message = (
                f"--checkpoints: {first[0].text} and {one.text} are not checkpoints of one model. "
                f"They differ in {listed}. Sweep other models on their own."
            )
            raise InvalidArgumentError(message)


def _split(text: str) -> tuple[str, str | None]:
    """Return a checkpoint and its revision; a folder may have an @ in its name."""
    name, at, revision = text.rpartition("@")
    return (text, None) if not at or not name or Path(text).is_dir() else (name, revision)


def _folders(parts: Sequence[Sequence[str]]) -> list[str]:
    """Return the last parts of the names, as few as tell them apart."""
    cleaned = [[part.replace("/", "-") for part in one if part != "/"] for one in parts]
    longest = max(map(len, cleaned))
    for n in range(1, longest + 1):
        found = ["-".join(one[-n:]) for one in cleaned]
        if len(set(found)) == len(found):
            return found
    return [f"{number}-{one[-1]}" for number, one in enumerate(cleaned, 1)]


def _facts(model: ModelConfig) -> dict[str, Any]:
    """Return what is the same in all checkpoints of one model, by name."""
    text, description = model.config.get_text_config(), model.description
    return {
        "family": description.model_type,
        "layers": getattr(text, "num_hidden_layers", None),
        "hidden size": getattr(text, "hidden_size", None),
        "experts": description.num_experts,
        "shared experts": description.num_shared_experts,
        "published k": description.num_experts_per_tok,
    }
