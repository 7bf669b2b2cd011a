"""Check the names of arguments of ``moe_vllm`` with vLLM's source text, before vLLM is imported.

Its import takes many seconds. A name that its parser has is in the module of the engine
arguments; one that is not there at all is a mistake. All others are checked later, with
the parser itself.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError, MissingDependencyError
from moe_eval_plugin.model_adapters.vllm_arguments import OPTIONS, RUN_OPTIONS, unknown_argument

if TYPE_CHECKING:
    from collections.abc import Iterable

SOURCE = "engine/arg_utils.py"
FIELD = re.compile(r"^    (\w+) *:", re.MULTILINE)
# Options of the host, which `moe_vllm` gets among its arguments.
OF_THE_HOST = ("batch_size", "device", "max_batch_size")


def check_installed() -> None:
    """Raise ``MissingDependencyError`` where vLLM is not installed."""
    if find_spec("vllm") is None:
        message = (
            "--model moe_vllm needs vLLM, which is not installed. Install it: "
            'pip install "moe-eval-plugin[vllm]", or use --model moe_hf.'
        )
        raise MissingDependencyError(message)


def check_names(given: Iterable[str]) -> None:
    """Raise ``InvalidArgumentError`` for a name that is neither ours nor in vLLM's source.

    Nothing is checked where vLLM is not installed.
    """
    source = _source()
    if source is None:
        return
    ours = [*OPTIONS, *RUN_OPTIONS]
    for name in given:
        spellings = {name, name.replace("_", "-")}
        is_known = any(re.search(rf"(?<!\w){re.escape(one)}(?!\w)", source) for one in spellings)
        if name not in (*ours, *OF_THE_HOST) and not is_known:
            known = [*ours, *FIELD.findall(source)]
            raise InvalidArgumentError(unknown_argument(name, known, ours))


def _source() -> str | None:
    spec = find_spec("vllm")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder, SOURCE)
        if path.is_file():
            return path.read_text("utf-8")
    return None
