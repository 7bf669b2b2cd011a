"""The options of a sweep by name: which host asks its questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.api.sweeping.options import make_plan
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts import harness
from moe_eval_plugin.sweeps.manifest import Manifest

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.api.sweeping.options import SweepOptions
    from moe_eval_plugin.sweeps.plan import SweepPlan


def plan(folder: Path | None, **options: str | None) -> SweepPlan:
    given: SweepOptions = {"host": options.get("host")}
    return make_plan("moe_hf", "pretrained=demo", ["easy_vqa"], None, given, folder)


def test_a_folder_keeps_the_host_that_it_was_begun_with(tmp_path: Path) -> None:
    of_lm_eval = plan(tmp_path, host="lm-eval")
    assert plan(tmp_path).host == "lmms-eval"
    Manifest(tmp_path, of_lm_eval.own_settings()).save()
    assert plan(tmp_path).host == "lm-eval"
    assert plan(tmp_path, host="lmms-eval").host == "lmms-eval"
    # As it was written before there were two hosts.
    Manifest(tmp_path, plan(None, host="lmms-eval").own_settings()).save()
    assert plan(tmp_path).host == "lmms-eval"


def test_without_lmms_eval_a_new_folder_takes_lm_eval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "find_spec", lambda name: None if name == "lmms_eval" else name)
    assert plan(None).host == "lm-eval"


def test_settings_of_a_sweep_with_lmms_eval_are_those_of_earlier_versions() -> None:
    newer = {"host", "num_fewshot", "apply_chat_template"}
    assert not newer & plan(None, host="lmms-eval").own_settings().keys()
    assert plan(None, host="lm-eval").own_settings()["host"] == "lm-eval"


def test_batches_are_those_of_the_host_where_none_are_asked_for() -> None:
    assert plan(None, host="lmms-eval").batch_size == "auto"
    assert plan(None, host="lm-eval").batch_size == "1"


def test_a_host_that_is_not_known_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="--host helm is not known"):
        plan(None, host="helm")
