"""Files of a schedule or a policy, with the record of how it was found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError, InvalidArgumentError, InvalidExpertCountError
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.tuned_file import (
    TunedFile,
    read_policy_option,
    read_tuned_file,
)
from moe_eval_plugin.experts.schedules.tuning_record import CalibrationQuestions, TuningRecord
from tests.experts.schedules.tuned_files import SENSITIVITIES, write_tuned_file

if TYPE_CHECKING:
    from pathlib import Path

RECORD = TuningRecord(
    name="tuned-0.5",
    method="search",
    model="demo",
    revision="1e5",
    unit="experts",
    target=0.5,
    price=0.48,
    by="modality",
    predicted_loss=1e-7,
    questions=(
        CalibrationQuestions("easy_vqa", "lmms-eval", "test", tuple(range(300)), is_evaluated=True),
        CalibrationQuestions("okvqa", "lmms-eval", "train", (4, 2), is_evaluated=False),
    ),
    date="2026-11-29T08:00:00",
    versions={"torch": "2.9", "vllm": None},
)
POLICY = replace(RECORD, method="threshold")
SCHEDULE = parse_experts_k("8/0-2:3/image+7:2/decode:1")
TUNING = "tuning: {name: t, method: search, model: demo, unit: experts, target: 0.5, price: 0.5}\n"


@pytest.mark.parametrize(
    "file",
    [
        TunedFile(SCHEDULE, tuning=RECORD, sensitivities=SENSITIVITIES),
        TunedFile(SCHEDULE, tuning=RECORD),
        TunedFile(policy="threshold:0.1", tuning=POLICY),
    ],
)
def test_a_file_is_read_back_as_it_was_written(tmp_path: Path, file: TunedFile) -> None:
    path = tmp_path / "tuned-0.5.yaml"
    write_tuned_file(path, file)
    read = read_tuned_file(path)
    assert read == file
    assert read.tuning == file.tuning
    assert read.sensitivities == file.sensitivities
    assert read.text == path.read_text("utf-8")


def test_the_option_has_the_record(tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    write_tuned_file(path, TunedFile(SCHEDULE, tuning=RECORD, sensitivities=SENSITIVITIES))
    schedule = parse_experts_k(f"@{path}")
    assert schedule == SCHEDULE
    assert schedule
    assert schedule.tuning == RECORD
    text = path.read_text("utf-8")
    assert "\n- {k: 2, layers: 7, modality: image}\n" in text
    assert "\nsensitivities:\n- {layer: 0, 1: 0.5216, 2: 1.0e-07}\n" in text


def test_sensitivities_have_a_line_for_each_layer_and_are_no_part_of_the_setting(
    tmp_path: Path,
) -> None:
    rows = [{"layer": layer, **{k: k / 7 for k in range(1, 32)}} for layer in range(3)]
    file = TunedFile(SCHEDULE, tuning=RECORD, sensitivities=tuple(rows))
    assert file == TunedFile(SCHEDULE, tuning=RECORD)
    assert [line[:10] for line in file.text.splitlines()[-3:]] == [
        f"- {{layer: {layer}"[:10] for layer in range(3)
    ]
    write_tuned_file(tmp_path / "t.yaml", file)
    assert read_tuned_file(tmp_path / "t.yaml").sensitivities == tuple(rows)


def test_a_file_given_to_the_other_option_is_refused(tmp_path: Path) -> None:
    schedule, policy = tmp_path / "schedule.yaml", tmp_path / "policy.yaml"
    write_tuned_file(schedule, TunedFile(SCHEDULE, tuning=RECORD))
    write_tuned_file(policy, TunedFile(policy="threshold:0.2", tuning=POLICY))
    assert read_policy_option(f"@{policy}").policy == "threshold:0.2"
    with pytest.raises(InvalidExpertCountError, match=r"Pass it as experts_policy=@.*policy\.yaml"):
        parse_experts_k(f"@{policy}")
    with pytest.raises(InvalidArgumentError, match=r"Pass it as experts_k=@.*schedule\.yaml"):
        read_policy_option(f"@{schedule}")
    with pytest.raises(InvalidArgumentError, match="No such file"):
        read_policy_option("@missing.yaml")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (TUNING, "neither experts_k nor experts_policy"),
        ("experts_k: [{k: 8}]\nexperts_policy: top_p:0.8\n", "both experts_k and experts_policy"),
        ("experts_k: [{k: 8}]\nexpert_policy: x\n", "unknown key expert_policy"),
        ("experts_policy: [top_p]\n", "NAME:NUMBER was expected"),
        ("experts_policy: top_p:0.8\n" + TUNING, "tuning.method search does not find"),
        ("experts_k: [{k: 8}]\ntuning: search\n", "a mapping was expected"),
        ("experts_k: [{k: 8}]\n" + TUNING.replace("name: t", "name: ../t"), "tuning.name is"),
        ("experts_k: [{k: 8}]\n" + TUNING.replace("0.5", "half"), "tuning.target is 'half'"),
        ("experts_k: [{k: 8}]\nsensitivities: {0: 1.5}\n", "a list of mappings was expected"),
        ("experts_k: [{k: 8}]\nsensitivities: [1.5]\n", "a list of mappings was expected"),
        ("experts_k: [{k: 8}]\n" + TUNING + "date: 2026-13-45\n", "month must be in"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "tuned.yaml"
    path.write_text(content, "utf-8")
    with pytest.raises(DataError, match=reason) as caught:
        read_tuned_file(path)
    assert str(path) in str(caught.value)


def test_a_file_holds_one_thing() -> None:
    with pytest.raises(ValueError, match="either"):
        TunedFile(SCHEDULE, policy="top_p:0.8")
    assert TunedFile(replace(SCHEDULE, tuning=RECORD)).schedule.tuning is None
