"""``import moe_eval_plugin as moe``: cheap, with the names that it promises."""

from __future__ import annotations

import subprocess
import sys

import pytest

import moe_eval_plugin as moe
from moe_eval_plugin.errors import InvalidArgumentError

HEAVY = ("torch", "transformers", "numpy", "lmms_eval", "pandas", "altair", "yaml")
PROGRAM = f"""
import sys
import moe_eval_plugin as moe
loaded = {{*{HEAVY}}} & sys.modules.keys()
assert not loaded, loaded
assert {{*moe.__all__}} <= {{*dir(moe)}}
"""


def test_the_import_loads_nothing_that_is_heavy() -> None:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", moe.__all__)
def test_each_public_name_is_there_and_explained(name: str) -> None:
    value = getattr(moe, name)
    assert callable(value)
    assert value.__doc__


def test_another_name_is_missing() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'swep'"):
        _ = moe.swep  # type: ignore[attr-defined]


def test_sweep_checks_its_arguments() -> None:
    with pytest.raises(InvalidArgumentError, match="tasks names no task"):
        moe.sweep("demo", tasks="")
