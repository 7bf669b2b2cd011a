"""``moe-eval bundle`` and ``moe-eval reproduce`` as a user runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.programs import moe_eval

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--limit", "0"), "--limit 0 is not possible"),
        (("--speed-within", "-1"), "--speed-within -1.0 is not possible"),
        (("--against", "x", "--limit", "4"), "--against runs nothing"),
        (("--output", "taken"), "taken holds files that"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    bundle: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").touch()
    run = moe_eval("reproduce", bundle, *arguments, cwd=tmp_path)
    assert run.returncode == 2
    assert said in run.stderr


def test_a_bundle_needs_a_name_that_says_what_it_is(bundle: Path) -> None:
    run = moe_eval("bundle", "sweep", "--output", "k.zip", cwd=bundle.parent)
    assert run.returncode == 2
    assert "ends in .tar.gz" in run.stderr
