from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError, InvalidExpertCountError, ModelNotFoundError
from moe_eval_plugin.experts.schedules.tuned_file import TunedFile
from moe_eval_plugin.publish.deployment.overview import overview
from moe_eval_plugin.publish.deployment.overview_text import render
from moe_eval_plugin.publish.deployment.setting import NamedModel, read_setting
from tests.experts.schedules.tuned_files import write_tuned_file
from tests.publish.deployment.tuned_files import BY_LAYER, RECORD, policy_file, tuned_file

if TYPE_CHECKING:
    from pathlib import Path

DEMO = NamedModel("demo")


def test_a_tuned_file_shows_its_layers_its_price_and_its_origin(tmp_path: Path) -> None:
    found = overview(read_setting(str(tuned_file(tmp_path))))
    (token,) = found.tokens
    assert (found.model, found.published_k, found.num_experts) == ("demo", 8, 32)
    assert token.k_by_layer == BY_LAYER
    assert (token.mean_k, token.experts_share) == (2, 0.25)
    text = render(found)
    assert "  0  3  ██████\n" in text
    assert "  2  1  ██\n" in text
    for words in (
        "2 of 8, which is 25.0% of the routed experts",
        "search on 2026-11-29, for demo",
        "0.31 measured, 0.35 predicted",
        "k=2 everywhere costs no more: 0.52",
        "3 questions of easy_vqa (lmms-eval), split train",
        "37 settings",
    ):
        assert words in " ".join(text.split())


def test_layers_of_one_size_cost_what_their_mean_k_costs_everywhere() -> None:
    (by_layer,) = overview(read_setting("0-1:6/2-3:2", DEMO)).tokens
    (uniform,) = overview(read_setting("4", DEMO)).tokens
    assert by_layer.prefill_flops_share == pytest.approx(uniform.prefill_flops_share)
    assert by_layer.decode_flops_share == pytest.approx(uniform.decode_flops_share)
    assert 0.5 < (uniform.prefill_flops_share or 0) < 1


def test_tokens_whose_k_differs_have_a_column_each() -> None:
    found = overview(read_setting("8/image:4/2-3:2/decode:1", DEMO))
    assert [(one.name, [*one.k_by_layer.values()]) for one in found.tokens] == [
        ("text", [8, 8, 2, 2]),
        ("image", [4, 4, 2, 2]),
        ("decode", [1, 1, 1, 1]),
    ]
    assert [one.prefill_flops_share is None for one in found.tokens] == [False, False, True]
    lines = render(found).splitlines()
    assert lines[3].split() == ["layers", "text", "image", "decode"]
    # Layers that do not differ share a line.
    assert [line.split()[0] for line in lines[4:6]] == ["0-1", "2-3"]
    names = {
        text: [one.name for one in overview(read_setting(text, DEMO)).tokens]
        for text in ("text:8/image:2", "prefill:8/decode:2")
    }
    assert [*names.values()] == [["text", "image"], ["prefill", "decode"]]


def test_without_a_model_only_the_setting_itself_is_known(tmp_path: Path) -> None:
    found = overview(read_setting("8/2-3:4"))
    assert (found.experts_k, found.model, found.tokens) == ("8/2-3:4", None, ())
    assert "--model MODEL" in render(found)
    path = tmp_path / "other.yaml"
    record = replace(RECORD, model=str(tmp_path / "gone"))
    write_tuned_file(path, TunedFile(read_setting("4").schedule, tuning=record))
    found = overview(read_setting(f"@{path}"))
    assert found.model is None
    assert "not known here: Cannot find" in render(found)
    assert overview(read_setting(str(path), DEMO)).model == "demo"
    with pytest.raises(ModelNotFoundError):
        read_setting("4", NamedModel(str(tmp_path / "gone")))


def test_a_policy_has_no_k_by_layer(tmp_path: Path) -> None:
    found = overview(read_setting(str(policy_file(tmp_path))))
    assert (found.experts_policy, found.tokens) == ("threshold:0.4", ())
    assert "token by token" in render(found)


@pytest.mark.parametrize(
    ("value", "error"),
    [("@none.yaml", DataError), ("none.yml", DataError), ("8/", InvalidExpertCountError)],
)
def test_what_is_neither_a_file_nor_a_schedule_is_refused(
    value: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        read_setting(value)
