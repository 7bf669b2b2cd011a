"""``import moe_eval_plugin as moe``: cheap, with the names that it promises."""

from __future__ import annotations

import inspect
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
import moe_eval_plugin.sweep.manifest as manifest
assert manifest.MANIFEST
assert callable(moe.sweep)  # the package of that name was imported, and is bound in its place
"""


def test_the_import_loads_nothing_that_is_heavy() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)


@pytest.mark.parametrize("name", moe.__all__)
def test_each_public_name_is_there_and_explained(name: str) -> None:
    value = getattr(moe, name)
    assert callable(value)
    assert value.__doc__


def test_another_name_is_missing() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'swep'"):
        _ = moe.swep  # type: ignore[attr-defined]


def test_sweep_is_a_function_and_a_package() -> None:
    import moe_eval_plugin.sweep.manifest
    from moe_eval_plugin.api.sweep import sweep

    assert moe.sweep is moe_eval_plugin.sweep
    assert inspect.signature(moe.sweep) == inspect.signature(sweep)
    with pytest.raises(InvalidArgumentError, match="tasks names no task"):
        moe.sweep("demo", tasks="")
