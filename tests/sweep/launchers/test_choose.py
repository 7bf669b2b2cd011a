from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import MissingDependencyError
from moe_eval_plugin.sweep.launchers.choose import make_launcher

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["ray", "slurm"])
def test_a_launcher_without_its_package_says_how_to_install_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moe_eval_plugin.sweep.launchers.choose.find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError, match=rf"moe-eval-plugin\[{name}\]"):
        make_launcher(name, 0, tmp_path, {})
