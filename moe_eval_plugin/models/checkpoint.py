"""Load the configuration of a model by name: the embedded one, a folder, or one of the Hub.

Every failure is a ``UserError`` that states what to do next. The Hub is queried once, with a time
limit and without retries, so that a machine without a network fails at once.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.architectures.register import register_for
from moe_eval_plugin.errors import (
    InvalidArgumentError,
    MissingDependencyError,
    ModelNotFoundError,
    UserError,
)
from moe_eval_plugin.model_name import DEMO, HUB_ID, is_folder
from moe_eval_plugin.models.other_forms import explain_folder, refuse_pointers
from moe_eval_plugin.models.releases.earlier_code import EARLIER, earlier_names
from moe_eval_plugin.models.releases.names import is_own_code
from moe_eval_plugin.text import one_line

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo
    from transformers import PretrainedConfig


FALLBACK_PRETRAINED = "Qwen/Qwen3-VL-30B-A3B-Instruct"
HUB_TIMEOUT_S = 5.0
NEXT_STEP = (
    "Use a folder with config.json and weights, a model id of the Hub, or pretrained=demo for "
    "the embedded model."
)


def default_pretrained() -> str:
    """Return the model to use when none is named: ``$MOE_EVAL_PRETRAINED``, else Qwen3-VL-30B."""
    return os.environ.get("MOE_EVAL_PRETRAINED") or FALLBACK_PRETRAINED


def resolve(pretrained: str) -> str:
    """Return the folder or the Hub id of a model.

    ``demo`` is always the embedded model (write ``./demo`` for a folder of that name); an existing
    folder is returned as it is; anything else must have the form of a Hub id. The Hub is not
    queried. Raises ``ModelNotFoundError``.
    """
    if pretrained == DEMO:
        from moe_eval_plugin.models.demo import MODEL_PATH

        return _checked_folder(MODEL_PATH)
    path = Path(pretrained).expanduser()
    if pretrained and path.is_dir():
        return _checked_folder(path)
    if path.is_file():
        message = f"pretrained={pretrained} is a file, and a folder is needed. {NEXT_STEP}"
        raise ModelNotFoundError(message)
    if not HUB_ID.fullmatch(pretrained) or pretrained.startswith("."):
        message = (
            f"Cannot find {pretrained or 'a model without a name'}: it is not a local folder, and "
            f"not a model id of the Hub such as {FALLBACK_PRETRAINED}. {NEXT_STEP}"
        )
        raise ModelNotFoundError(message)
    return pretrained


def load_config(
    pretrained: str, revision: str | None = None, *, trust_remote_code: bool = False
) -> PretrainedConfig:
    """Return the configuration of a model; nothing else of it is downloaded.

    Without a network, a configuration in the Hub's cache is used. Raises ``ModelNotFoundError``
    when there is no such model or revision, it is gated, or the Hub cannot be reached and the cache
    does not have it; ``UserError`` when transformers cannot read it; ``MissingDependencyError``
    when its own code needs a package that is not installed.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    name = resolve(pretrained)
    if revision is not None and is_folder(name):
        message = f"revision={revision} has no effect on {pretrained}, a folder. Leave it out."
        raise InvalidArgumentError(message)
    local_only = not is_folder(name) and ask_hub(name, revision) is None
    raw = _raw_config(name, revision, local_only=local_only)
    register_for(raw, trust_remote_code=trust_remote_code)
    _check_readable(name, raw, trust_remote_code=trust_remote_code)
    try:
        with earlier_names(str(raw.get("transformers_version")) if trust_remote_code else ""):
            config: PretrainedConfig = AutoConfig.from_pretrained(
                name,
                revision=revision,
                trust_remote_code=trust_remote_code,
                local_files_only=local_only,
            )
    except ImportError as error:
        message = f"The code of {name} cannot be imported: {one_line(error)}"
        raise MissingDependencyError(message) from error
    except (StrictDataclassError, ValueError, TypeError, KeyError, AttributeError) as error:
        message = (
            f"config.json of {name} does not fit transformers {version('transformers')}: "
            f"{one_line(error)}. Compare the file with the published one, or upgrade "
            "transformers: pip install --upgrade transformers."
        )
        raise UserError(message) from error
    except Exception as error:
        if "AutoConfig" not in (raw.get("auto_map") or {}):
            raise
        message = (
            f"The code that comes with {name} does not run with transformers "
            f"{version('transformers')}: {type(error).__name__}: {one_line(error)}."
        )
        raise UserError(message) from error
    _undo_rope_defaults(config, raw)
    return config


def ask_hub(
    name: str, revision: str | None = None, *, files_metadata: bool = False
) -> ModelInfo | None:
    """Return what the Hub lists about a model; one query of at most ``HUB_TIMEOUT_S`` seconds.

    ``files_metadata`` adds the size of each file. Returns ``None`` when the Hub cannot be reached
    or offline mode is on; raises ``ModelNotFoundError`` when it answers that there is no such
    model or revision, or that it is gated.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return HfApi().model_info(
            name, revision=revision, timeout=HUB_TIMEOUT_S, files_metadata=files_metadata
        )
    except GatedRepoError as error:
        raise ModelNotFoundError(_gated(name)) from error
    except RevisionNotFoundError as error:
        message = (
            f"{name} has no revision {revision} on the Hub. Leave revision out for its main "
            "branch, or use a branch, a tag or a commit."
        )
        raise ModelNotFoundError(message) from error
    except RepositoryNotFoundError as error:
        message = (
            f"Cannot find {name}: it is not a local folder, and the Hub has no such model (or it "
            f"is private: log in with `hf auth login`). Check the spelling. {NEXT_STEP}"
        )
        raise ModelNotFoundError(message) from error
    except network_errors():
        return None


def require_on_hub(name: str, revision: str | None = None) -> None:
    """Raise ``ModelNotFoundError`` for a model that is not in the cache, if the Hub has none.

    Or if the Hub cannot be reached. Raises what ``ask_hub`` raises.
    """
    if ask_hub(name, revision) is None:
        raise ModelNotFoundError(_unreachable(name))


def network_errors() -> tuple[type[Exception], ...]:
    """List the errors that mean that the Hub returned no usable answer."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # httpx or httpx2

    return (HTTPError, ConnectionError)


def _checked_folder(path: Path) -> str:
    if not (path / "config.json").is_file():
        message = (
            f"The folder {path} holds no config.json, so it is not a model. "
            f"{explain_folder(path) or NEXT_STEP}"
        )
        raise ModelNotFoundError(message)
    refuse_pointers([path / "config.json"])
    return str(path)


def _raw_config(name: str, revision: str | None, *, local_only: bool) -> dict[str, Any]:
    """Return ``config.json`` as it is written, before any class interprets it."""
    from huggingface_hub.errors import GatedRepoError
    from transformers import PretrainedConfig

    try:
        raw, _ = PretrainedConfig.get_config_dict(
            name, revision=revision, local_files_only=local_only
        )
    except (TypeError, AttributeError) as error:
        raise ModelNotFoundError(_no_object(name)) from error
    except OSError as error:
        if any(isinstance(cause, GatedRepoError) for cause in _causes(error)):
            raise ModelNotFoundError(_gated(name)) from error
        message = _unreachable(name) if local_only else f"{one_line(error)}. {NEXT_STEP}"
        raise ModelNotFoundError(message) from error
    if not isinstance(raw, dict):
        raise ModelNotFoundError(_no_object(name))
    return raw


def _check_readable(name: str, raw: dict[str, Any], *, trust_remote_code: bool) -> None:
    """Raise ``UserError`` for a configuration that the installed transformers has no class for."""
    from transformers import CONFIG_MAPPING

    model_type = raw.get("model_type")
    if "text_config" in raw and not isinstance(raw["text_config"], dict):
        # transformers would take the sizes of a published model for it.
        message = (
            f"text_config={raw['text_config']!r} in config.json of {name} is not a JSON object. "
            "Compare the file with the published one."
        )
        raise UserError(message)
    if isinstance(model_type, str) and model_type in CONFIG_MAPPING:
        return
    auto_map = raw.get("auto_map") or {}
    brings_code = isinstance(auto_map, dict) and "AutoConfig" in auto_map
    if brings_code and not trust_remote_code:
        message = (
            f"{name} comes with its own code, because transformers has no model type {model_type}. "
            "Read that code, and if you trust it allow it with trust_remote_code=True "
            "(--trust-remote-code for moe-eval)."
        )
        raise UserError(message)
    if not brings_code:
        kind = f"model type {model_type}" if model_type else "a config.json without model_type"
        message = (
            f"{name} has {kind}, which transformers {version('transformers')} does not know. "
            "Upgrade it (pip install --upgrade transformers), or use another model: this one "
            "brings no code of its own (auto_map in config.json)."
        )
        raise UserError(message)


def _undo_rope_defaults(config: PretrainedConfig, raw: dict[str, Any]) -> None:
    """Remove the ``rope_scaling`` that transformers 5 adds to the configuration of own code.

    transformers 5 fills in one of type "default", at which code of transformers 4 fails
    (``KeyError: 'type'``).
    """
    if not str(raw.get("transformers_version", "")).startswith(EARLIER):
        return
    for part in (config, *(value for value in vars(config).values() if hasattr(value, "to_dict"))):
        rope = getattr(part, "rope_parameters", None)
        if not is_own_code(type(part)) or not isinstance(rope, dict):
            continue
        if rope.get("rope_type") == "default" and "type" not in rope:
            part.rope_parameters = None


def _gated(name: str) -> str:
    return (
        f"{name} is gated: accept its conditions at https://huggingface.co/{name}, then log in "
        "with `hf auth login` or set HF_TOKEN."
    )


def _unreachable(name: str) -> str:
    from huggingface_hub import constants

    offline = constants.is_offline_mode()
    why = "HF_HUB_OFFLINE is set" if offline else "the Hub cannot be reached"
    return (
        f"Cannot find {name}: it is not a local folder, not in the cache "
        f"({constants.HF_HUB_CACHE}), and {why}. Check the spelling or the network, or try "
        "pretrained=demo."
    )


def _no_object(name: str) -> str:
    return f"config.json of {name} is not a JSON object. {NEXT_STEP}"


def _causes(error: BaseException | None) -> list[BaseException]:
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def cache_folder() -> Path:
    """Return the folder that models are downloaded to."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)
