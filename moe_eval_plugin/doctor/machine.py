"""Checks of this machine: its memory, its disk, its network, and our environment variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.doctor.check import Check
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.hardware.memory import free_disk_bytes, free_ram_bytes
from moe_eval_plugin.models.checkpoint import (
    cache_folder,
    default_pretrained,
    network_errors,
    resolve,
)
from moe_eval_plugin.option_values import read_bool
from moe_eval_plugin.text import GIB, did_you_mean, gib_text

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLES = {
    "MOE_EVAL_PRETRAINED": "the default model",
    "MOE_EVAL_DATA": "the folder with the official data files",
    "MOE_EVAL_DATA_STRICT": "1: refuse data sets that are not complete",
    "MOE_EVAL_NO_PROGRESS": "1: do not show what a command is doing",
    "MOE_EVAL_OUTPUT": "the folder of sweeps without --output",
    "MOE_EVAL_SKIP_PREFLIGHT": "1: do not check whether a model fits into memory",
}
NETWORK_TIMEOUT_S = 3.0
LOW_DISK_BYTES = 5 * GIB


def check_machine() -> Check:
    """Report the free RAM and the number of cores."""
    return Check("machine", "ok", f"{gib_text(free_ram_bytes())} RAM free; {os.cpu_count()} cores")


def check_disk() -> Check:
    """Check the free disk space of the download cache."""
    cache = cache_folder()
    free = free_disk_bytes(cache)
    detail = f"{gib_text(free)} free for downloads in {cache}"
    if free >= LOW_DISK_BYTES:
        return Check("disk", "ok", detail)
    return Check("disk", "warn", detail, "Free some space, or set HF_HOME to a larger disk.")


def check_variables(environment: Mapping[str, str]) -> list[Check]:
    """Check the ``MOE_EVAL_*`` variables: known names, and existing folders."""
    given = {name: value for name, value in environment.items() if name.startswith("MOE_EVAL_")}
    checks = [_check_variable(name, value) for name, value in sorted(given.items())]
    if "MOE_EVAL_PRETRAINED" not in given:
        checks.append(Check("default model", "ok", default_pretrained()))
    return checks


def check_network() -> Check:
    """Check that the hub answers."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=NETWORK_TIMEOUT_S)
    except network_errors() as error:
        remedy = "Use pretrained=demo or local folders, or check the proxy settings."
        return Check("hub", "warn", f"{constants.ENDPOINT} does not answer: {error}", remedy)
    return Check("hub", "ok", f"{constants.ENDPOINT} answers")


def _check_variable(name: str, value: str) -> Check:
    if name not in VARIABLES:
        remedy = f"The settings are {', '.join(VARIABLES)}.{did_you_mean(name, VARIABLES)}"
        return Check(name, "warn", f"{value}: not a setting", remedy)
    if name == "MOE_EVAL_DATA" and not Path(value).is_dir():
        remedy = "Set it to the folder with the official files, or unset it."
        return Check(name, "fail", f"{value} is not a folder", remedy)
    try:
        if name == "MOE_EVAL_PRETRAINED":
            resolve(value)
        elif VARIABLES[name].startswith("1:") and value:
            read_bool(name, value)
    except UserError as error:
        return Check(name, "fail", str(error))
    return Check(name, "ok", f"{value} ({VARIABLES[name]})")
