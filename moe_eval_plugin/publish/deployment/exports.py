"""What to write to run a setting in other tools: programs, commands, or why it is not possible."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidExpertCountError, UnsupportedFamilyError
from moe_eval_plugin.publish.deployment.llama_cpp import llama_cpp_command
from moe_eval_plugin.publish.deployment.tools import ALL, CHECKED, ToolSupport, tool_support
from moe_eval_plugin.publish.deployment.transformers_code import (
    code_with_package,
    code_without_package,
)
from moe_eval_plugin.publish.deployment.vllm_command import vllm_command
from moe_eval_plugin.text import wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moe_eval_plugin.publish.deployment.setting import SettingToDeploy

NEEDS_PACKAGE = (
    "Needs moe-eval-plugin where vLLM runs, in each of its processes; leave VLLM_PLUGINS unset, or "
    "name moe_eval_plugin in it. Without the package, vLLM ignores the key without a message."
)
# Target, what it is, the language of its text, how to write it, and what to know about it.
WAYS: tuple[tuple[str, str, str, Callable[[SettingToDeploy], str], str], ...] = (
    (
        "transformers",
        "transformers with moe-eval-plugin",
        "python",
        code_with_package,
        "The setting is checked against the model, and k is observed and restored.",
    ),
    (
        "transformers",
        "transformers alone",
        "python",
        code_without_package,
        "Nothing is checked or observed: a number that a router ignores has no message.",
    ),
    ("vllm", "vLLM with moe-eval-plugin", "console", vllm_command, NEEDS_PACKAGE),
    (
        "llama.cpp",
        "llama.cpp, KoboldCpp, LM Studio",
        "console",
        llama_cpp_command,
        "Not measured by moe-eval: ask the tool the same questions before you rely on it.",
    ),
)


@dataclass(frozen=True)
class Export:
    """The text that runs a setting in one way, or the reason why there is none."""

    target: str
    """``transformers``, ``vllm`` or ``llama.cpp``."""
    way: str
    """What runs it."""
    language: str
    """``python`` or ``console``."""
    text: str | None
    """The program or the commands; ``None`` if the setting cannot be run this way."""
    reason: str | None
    """Why the setting cannot be run this way; ``None`` if it can."""
    note: str
    """What to know about it."""


@dataclass(frozen=True)
class Exports:
    """A setting for other tools, and which of them can run it."""

    setting: str
    """The schedule or the policy as text."""
    model: str
    """Name of the model."""
    exports: tuple[Export, ...]
    """One entry for each way."""
    tools: tuple[ToolSupport, ...]
    """Every tool that was looked at."""
    checked: str = CHECKED
    """The day on which the tools were looked at."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, for JSON."""
        return asdict(self)

    @property
    def text(self) -> str:
        """All texts with comments in between, so that a program stays a program."""
        return "\n".join(line for export in self.exports for line in _lines(export))


def write_exports(setting: SettingToDeploy, target: str) -> Exports:
    """Return what runs a setting in one of ``TARGETS``; ``all`` stands for all of them.

    Raises ``InvalidArgumentError`` without a model, and ``UnsupportedFamilyError`` where a single
    target cannot run the setting in any way.
    """
    everything = [_export(setting, *way) for way in WAYS]
    chosen = tuple(one for one in everything if target in {ALL, one.target})
    if not any(one.text for one in chosen):
        others = [one.way for one in everything if one.text]
        reason = "; ".join(str(one.reason).rstrip(".") for one in chosen)
        message = f"{reason}. {setting.text} can be run with: {', '.join(others)}."
        raise UnsupportedFamilyError(message)
    refusals: Mapping[str, str | None] = {
        "transformers alone": everything[1].reason,
        "vllm": everything[2].reason,
    }
    return Exports(
        setting=setting.text,
        model=setting.checked.model.pretrained,
        exports=chosen,
        tools=tool_support(setting, refusals),
    )


def _export(
    setting: SettingToDeploy,
    target: str,
    way: str,
    language: str,
    write: Callable[[SettingToDeploy], str],
    note: str,
) -> Export:
    try:
        return Export(target, way, language, write(setting), None, note)
    except (UnsupportedFamilyError, InvalidExpertCountError) as error:
        return Export(target, way, language, None, str(error), note)


def _lines(export: Export) -> list[str]:
    about = export.note if export.text else f"Not possible: {export.reason}"
    return [
        f"# {export.way}",
        *wrap(about, first="# ", rest="# "),
        *((export.text or "").splitlines()),
        "",
    ]
