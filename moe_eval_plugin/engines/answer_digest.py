"""Digest everything that an answer depends on: model, options, precision, versions, question.

Two answers with the same digest were, or would be, computed alike. So a cache of answers may use
it as its key. Weights are not read for it: see ``checkpoint_identity``.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.files import file_state, files_digest, sha256_of
from moe_eval_plugin.model_name import is_folder
from moe_eval_plugin.models.checkpoint import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.engines.request import Job

# These stand in the provenance as the model has them, whatever was requested.
RESOLVED = (
    *("backend", "revision", "experts_k", "experts_policy", "renorm", "model_class", "dtype"),
    *("device", "attn_implementation", "experts_implementation", "kernels", "max_model_len"),
    *("enforce_eager", "compilation_mode", "cudagraph_mode", "versions"),
)
# Of the options: named in another way, or without effect on answers.
NOT_OPTIONS = frozenset(
    {
        *("pretrained", "revision", "experts_k", "experts_policy", "renorm"),
        *("profile", "profile_trace", "share_images"),
    }
)
ENGINE_VARIABLES = "VLLM_"
# vLLM draws these at each start of an engine, and writes them into the environment: the port by
# which its processes meet, and the name of the memory that they share. With one of them in a key,
# no answer would ever be found again. No answer depends on them.
DRAWN_AT_START = frozenset({"VLLM_DIST_IDENT", "VLLM_OBJECT_STORAGE_SHM_BUFFER_NAME"})
# Parts of a conversation that may be the path of a file.
MEDIA = ("image", "video", "audio", "url")


def answer_settings(
    options: Any,  # noqa: ANN401  (the dataclass of an engine)
    run_options: Any,  # noqa: ANN401  (the dataclass of a host)
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what all answers of a loaded model depend on; see ``settings_of_arguments``."""
    return settings_of_arguments({**asdict(options), **asdict(run_options)}, provenance)


def settings_of_arguments(
    given: Mapping[str, Any], provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what all answers of a loaded model depend on, as plain data.

    ``given`` are its arguments by name, ``pretrained`` among them; ``provenance`` describes the
    loaded model. Of an argument that names a file or a folder, the content counts. The batch size
    counts, and not which questions shared a batch: in low precision an answer may depend on these
    too, with a cache or without one.
    """
    hardware = provenance.get("hardware") or {}
    return {
        **checkpoint_identity(given["pretrained"], provenance.get("revision")),
        **_with_content({name: one for name, one in given.items() if name not in NOT_OPTIONS}),
        "resolved": {name: provenance.get(name) for name in RESOLVED},
        "machine": [hardware.get("kind"), hardware.get("name")],
        "variables": {
            name: value
            for name, value in os.environ.items()
            if name.startswith(ENGINE_VARIABLES) and name not in DRAWN_AT_START
        },
    }


def checkpoint_identity(pretrained: str, commit: str | None) -> dict[str, Any]:
    """Return the identity of a checkpoint: the commit on the Hub, or a digest of a folder.

    In a folder, files of up to 64 MiB are read: configuration, tokenizer, template, adapter, code.
    Larger ones, weights mostly, count by name, size and time of last change. Raises ``UserError``
    where the commit of a model on the Hub is not known.
    """
    name = resolve(pretrained)
    if is_folder(name):
        return folder_identity(Path(name))
    if commit is None:
        message = (
            f"The commit of {pretrained} is not known, so its answers cannot be distinguished from "
            "those of another version. Pass one with revision=, or run without --use_cache."
        )
        raise UserError(message)
    return {"model": name, "model revision": commit}


def folder_identity(folder: Path) -> dict[str, str | None]:
    """Return a digest of the files of a folder, and of those below; ``None`` where there are none.

    Files of up to 64 MiB are read; larger ones count by size and time of last change.
    """
    below = files_digest(folder, "*/**/*")
    return {"model files": files_digest(folder), "model files in folders": below}


def named_content(options: Any) -> dict[str, Any]:  # noqa: ANN401  (any JSON value)
    """Return a digest of each file or folder that a text in these options is the path of."""
    states = {text: _file_state(text) for text in _texts(options)}
    return {
        text: folder_identity(Path(text)) if Path(text).is_dir() else sha256_of(Path(text))
        for text, state in states.items()
        if state
    }


def question_digest(job: Job) -> str | None:
    """Return a digest of what the model is asked, pixels included; ``None`` if it cannot be made.

    That is the case for parts of a kind that is not known, and for a question that cannot be read.
    """
    digest = hashlib.sha256(job.settings.key.encode())
    try:
        _add(digest, job.continuation() if job.continuation else None)
        _add(digest, job.build())
    except Exception:  # noqa: BLE001  (the model says what is wrong when it is asked)
        return None
    return digest.hexdigest()


def _add(digest: Any, part: Any) -> None:  # noqa: ANN401  (hashlib's type has no name; any part)
    """Add a part of a conversation to a digest; ``TypeError`` for a kind that is not known."""
    if isinstance(part, dict):
        _add(digest, sorted(part.items()))
        paths = [part[name] for name in MEDIA if isinstance(part.get(name), str)]
        _add(digest, [_file_state(path) for path in paths])
    elif isinstance(part, list | tuple):
        digest.update(f"[{len(part)}".encode())
        for one in part:
            _add(digest, one)
    elif isinstance(part, str):
        digest.update(f"{len(part)}:{part}".encode(errors="surrogatepass"))
    elif part is None or isinstance(part, bool | int | float):
        digest.update(repr(part).encode())
    elif hasattr(part, "tobytes"):  # an image of Pillow, or an array
        shape = getattr(part, "size", None), getattr(part, "shape", None)
        kind = getattr(part, "mode", None), getattr(part, "dtype", None)
        digest.update(f"{shape}{kind}".encode())
        digest.update(part.tobytes())
    else:
        message = f"{type(part).__name__} has no digest"
        raise TypeError(message)


def _file_state(text: str) -> str:
    """Return size and times of a file that a text is the path of; empty where it is none."""
    try:
        return str(file_state(text))
    except (OSError, ValueError):
        return ""


def _with_content(options: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(options, default=str))
    return {"options": plain, "files of options": named_content(plain)}


def _texts(value: Any) -> list[str]:  # noqa: ANN401  (any JSON value)
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _texts(part)]
