"""The real ``lmms-eval`` command: as a user starts it, and by its entry point in this process."""

from __future__ import annotations

import json
import math
import sys
from contextlib import contextmanager
from statistics import mean
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.engines.transformers import model_at_k
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.override.apply import OverrideTrace
from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint
from moe_eval_plugin.sweeps.workers.child_process import ChildProcessWorker
from tests.cli.lmms_eval_runs import assert_refused, moe_hf, result_files, results_of, run
from tests.results.record_docs import undocumented
from tests.vqa.vqa_files import cut_off, edit_json, write_official

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What the embedded model may say: most colours and shapes of easy-VQA.
DEMO_ANSWERS = ("yes", "no", "red", "green", "blue", "black", "gray", "teal", "brown", "circle")


def test_easy_vqa_reports_accuracy_speed_and_the_observed_k(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        *("--model", "moe_hf", "--model_args", "pretrained=demo,experts_k=4"),
        *("--tasks", "easy_vqa", "--limit", "48", "--batch_size", "16", "--log_samples"),
    )
    results = results_of(tmp_path, done)
    rows = results["results"]["easy_vqa"]
    assert rows["exact_match,none"] > 0.8
    assert rows["observed_num_experts_per_tok,none"] == 4
    assert rows["num_experts_per_tok,none"] == 4
    assert rows["baseline_num_experts_per_tok,none"] == 8
    assert rows["task_samples_per_s,none"] > 0
    for metric in ("exact_match", "task_samples_per_s", "observed_num_experts_per_tok"):
        assert f"|easy_vqa|none  |     0|{metric}" in done.stdout
    record = results["moe_eval"]["easy_vqa"]
    assert record["experts"]["n_layers"] == 4
    assert record["experts"]["n_image_tokens"] == 4 * 16
    assert record["speed"]["n_samples"] == 48
    assert record["provenance"]["pretrained"] == "demo"
    assert undocumented(record["provenance"]) == set()
    assert results["throughput"]["total_gen_tokens"] == record["speed"]["n_output_tokens"]


def test_a_schedule_by_modality_and_a_policy_are_observed_and_stored(tmp_path: Path) -> None:
    done = moe_hf(
        tmp_path,
        "pretrained=demo,experts_k=text:8/image:2,experts_policy=top_p:0.9,renorm=keep-mass",
        "easy_vqa",
        *("--limit", "16", "--batch_size", "16"),
    )
    results = results_of(tmp_path, done)
    rows = results["results"]["easy_vqa"]
    assert 1 <= rows["observed_num_experts_per_tok_image,none"] <= 2
    assert 2 < rows["observed_num_experts_per_tok_text,none"] <= 8
    assert "num_experts_per_tok,none" not in rows
    experts = results["moe_eval"]["easy_vqa"]["experts"]
    assert (experts["requested"], experts["experts_k"]) == (None, "text:8/image:2")
    assert (experts["experts_policy"], experts["renorm"]) == ("top_p:0.9", "keep-mass")
    skipped = experts["routing"]["skipped_experts"]
    assert skipped["image"] == pytest.approx(1 - experts["observed_image"] / 2)
    assert rows["skipped_experts_share,none"] == skipped["share"] > 0
    layers = experts["routing"]["layers"].values()
    assert [0 < layer["skipped_experts"]["text"] < 1 for layer in layers] == [True] * 4


def test_a_schedule_by_layer_is_observed_in_each_layer(tmp_path: Path) -> None:
    done = moe_hf(
        tmp_path,
        "pretrained=demo,experts_k=8/1-2:4",
        "easy_vqa",
        *("--limit", "16", "--batch_size", "16"),
    )
    experts = results_of(tmp_path, done)["moe_eval"]["easy_vqa"]["experts"]
    layers = experts["routing"]["layers"].values()
    observed = [layer["observed_num_experts_per_tok"]["prefill"]["image"] for layer in layers]
    assert observed == [8, 4, 4, 8]
    assert experts["observed"] == 6


def test_real_questions_and_images_from_official_files(
    tmp_path: Path, vqa_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = {"MOE_EVAL_PRETRAINED": "demo", "MOE_EVAL_DATA": vqa_data}
    done = moe_hf(tmp_path, "experts_k=4,batch_size=auto", "okvqa,vqa_v2_val", **data)
    results = results_of(tmp_path, done)
    n_asked = {task: record["speed"]["n_samples"] for task, record in results["moe_eval"].items()}
    assert n_asked == {"okvqa": 26, "vqa_v2_val": 122}
    for task, n in n_asked.items():
        rows = results["results"][task]
        assert 0 <= rows["vqa_accuracy,none"] <= 1
        assert 0 <= rows["vqa_accuracy_official,none"] <= 1
        counts = results["moe_eval_scores"][task]["answer_types"].values()
        assert sum(count["n"] for count in counts) == n
        assert rows["observed_num_experts_per_tok,none"] == 4
        assert results["n-samples"][task]["original"] == n
    assert results["configs"]["okvqa"]["metadata"]["n_left_out"] == 5046 - 26
    assert results["configs"]["okvqa"]["metadata"]["answer_set"] == "stemmed"
    assert len(results["moe_eval_scores"]["vqa_v2_val"]["question_types"]) > 20
    assert "|vqa_accuracy_official_yes_no" in done.stdout
    assert "moe_eval_scores" not in done.stdout
    (warning,) = [one for one in caplog.messages if one.startswith("okvqa: ")]
    assert "26 of 5,046 questions are used" in warning


def test_the_group_is_found_and_averages_both(tmp_path: Path, vqa_data: Path) -> None:
    done = moe_hf(
        tmp_path,
        "pretrained=demo,experts_k=1,batch_size=8",
        "moe_vqa",
        *("--limit", "8"),
        MOE_EVAL_DATA=vqa_data,
    )
    results = results_of(tmp_path, done)
    assert set(results["moe_eval"]) == {"okvqa", "vqa_v2_val"}
    both = [results["results"][task] for task in ("okvqa", "vqa_v2_val")]
    group = results["results"]["moe_vqa"]
    names = ("vqa_accuracy,none", "vqa_accuracy_official,none")
    assert {name for name in group if "_stderr" not in name} == {"alias", *names}
    for name in names:
        assert group[name] == mean(rows[name] for rows in both)
        error = name.replace(",", "_stderr,")
        assert group[error] == math.hypot(*(rows[error] for rows in both)) / 2
    assert results["groups"]["moe_vqa"].items() >= {name: group[name] for name in names}.items()
    assert "|moe_vqa" in done.stdout


def test_without_experts_k_the_baseline_is_observed(tmp_path: Path) -> None:
    done = moe_hf(tmp_path, "pretrained=demo,batch_size=4", "easy_vqa", "--limit", "8")
    rows = results_of(tmp_path, done)["results"]["easy_vqa"]
    assert rows["observed_num_experts_per_tok,none"] == 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def one_and_two(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The results of two tasks from one process, and from two that share the questions."""

    def change(content: dict[str, Any]) -> None:
        # Two processes take turns, so one of them sees no number and the other one nothing else.
        types = ["other", "number", "yes/no", "number", "other"]
        for annotation, answer_type in zip(content["annotations"], types, strict=True):
            annotation.update(question_type=f"what {answer_type}", answer_type=answer_type)
            for answer, text in zip(annotation["answers"], DEMO_ANSWERS, strict=True):
                answer["answer"] = text

    files = write_official(folder / "data", "vqa_v2_val", range(1, 6))
    edit_json(folder / "data" / str(files.annotations), change)
    model_args, tasks = "pretrained=demo,dtype=float32", ("easy_vqa", "vqa_v2_val")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MOE_EVAL_DATA", str(folder / "data"))
        options = ("--limit", "41", "--batch_size", "8", "--log_samples")
        one = moe_hf(folder, f"{model_args},experts_k=4", ",".join(tasks), *options)
        # What runs a point of a sweep with --processes-per-point 2, on CPUs as on GPUs.
        patched.delenv("ACCELERATE_USE_CPU", raising=False)
        patched.setenv("HF_HOME", str(folder / "home"))
        plan = SweepPlan("moe_hf", model_args, tasks, (), limit=41, batch_size="8")
        two = ChildProcessWorker(plan, folder / "sweep", n_processes=2)(SweepPoint("k4", "4"))
    return results_of(folder, one), json.loads(two.read_text("utf-8"))


def test_two_processes_give_the_accuracy_of_one(
    one_and_two: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    scores = [result["results"]["easy_vqa"]["exact_match,none"] for result in one_and_two]
    assert scores[0] == scores[1]
    alone, record = (result["moe_eval"]["easy_vqa"] for result in one_and_two)
    for count in ("n_samples", "n_input_tokens", "n_output_tokens", "n_decoded_tokens"):
        assert record["speed"][count] == alone["speed"][count]
    assert record["speed"]["n_samples"] == 41
    assert record["experts"]["observed"] == alone["experts"]["observed"] == 4
    assert record["provenance"]["n_ranks"] == 2


def test_the_results_of_another_number_of_processes_do_not_count(
    one_and_two: tuple[dict[str, Any], dict[str, Any]],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The results of the one process are where the worker expects those of its command."""
    assert one_and_two[0]["moe_eval"]["easy_vqa"]["provenance"]["n_ranks"] == 1
    nothing = [sys.executable, "-c", ""]
    monkeypatch.setattr(ChildProcessWorker, "_program", lambda _: nothing)
    plan = SweepPlan("moe_hf", "pretrained=demo", ("easy_vqa",), ())
    point = SweepPoint("out", "4")
    with pytest.raises(UserError, match=r"asks for 2, but the record in .* has 1,"):
        ChildProcessWorker(plan, folder, n_processes=2)(point)
    assert ChildProcessWorker(plan, folder)(point).is_relative_to(folder / "out")


def test_scores_by_type_are_those_of_all_processes(
    one_and_two: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    one, both = (result["results"]["vqa_v2_val"] for result in one_and_two)
    rows = {name for name in one if name.startswith("vqa_accuracy") and "stderr" not in name}
    suffixes = ("", "_official", "_official_number", "_official_other", "_official_yes_no")
    assert rows == {f"vqa_accuracy{suffix},none" for suffix in suffixes}
    assert {name: both[name] for name in rows} == pytest.approx({n: one[n] for n in rows})
    assert one["vqa_accuracy_official,none"] > 0
    by_type = [result["moe_eval_scores"]["vqa_v2_val"] for result in one_and_two]
    counts = {name: of["n"] for name, of in by_type[1]["answer_types"].items()}
    assert counts == {"number": 2, "other": 2, "yes/no": 1}
    assert by_type[0] == by_type[1]


@pytest.mark.parametrize(
    ("model_args", "message"),
    [
        ("pretrained=demo,experts_k=0", "Use 1 to 32."),
        ("pretrained=demo,experts_k=four", "'four' is not a number of experts"),
        ("pretrained=demo,expert_k=4", "Did you mean experts_k?"),
        ("pretrained=demo,experts_k", "Write name=value,name=value."),
        ("pretrained=no/such/model,experts_k=4", "Cannot find no/such/model"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, model_args: str, message: str) -> None:
    assert_refused(tmp_path, moe_hf(tmp_path, model_args, "easy_vqa", "--limit", "4"), message)


def test_experts_of_a_dense_model_are_refused(tmp_path: Path) -> None:
    from transformers import Qwen3Config

    Qwen3Config().save_pretrained(tmp_path / "dense")
    done = moe_hf(tmp_path, f"pretrained={tmp_path / 'dense'},experts_k=4", "easy_vqa")
    assert_refused(tmp_path, done, "a dense model")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    files = write_official(tmp_path / "data")
    for image in (tmp_path / "data" / files.image_folder).iterdir():
        image.unlink()
    done = moe_hf(tmp_path, "pretrained=demo,experts_k=4", "okvqa", MOE_EVAL_DATA=tmp_path / "data")
    assert_refused(tmp_path, done, str(tmp_path / "data" / files.image_folder))


def test_a_truncated_image_is_refused_by_name(tmp_path: Path) -> None:
    files = write_official(tmp_path / "data")
    broken = tmp_path / "data" / files.image_folder / files.image_name.format(9)
    cut_off(broken)
    done = moe_hf(tmp_path, "pretrained=demo,experts_k=4", "okvqa", MOE_EVAL_DATA=tmp_path / "data")
    assert_refused(tmp_path, done, broken.name)


@contextmanager
def set_the_configuration_only(
    model: Any, resolved: Any, *_: object, **_options: object
) -> Iterator[OverrideTrace]:
    model.config.text_config.num_experts_per_tok = resolved.num_experts_per_tok
    yield OverrideTrace(resolved.schedule.text, ())


def test_k_that_the_routers_do_not_read_gives_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_at_k, "apply", set_the_configuration_only)
    done = moe_hf(tmp_path, "pretrained=demo,experts_k=4", "easy_vqa", "--limit", "8")
    assert_refused(tmp_path, done, "OverrideNotEffectiveError", code=3)
    assert "observed 8 by" in done.stderr


def test_a_fault_of_ours_ends_the_process_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host alone would end with 0."""
    monkeypatch.setattr(model_at_k, "observe", None)
    done = moe_hf(tmp_path, "pretrained=demo", "easy_vqa", "--limit", "8")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert not result_files(tmp_path)


def test_our_tasks_are_listed_and_built_in_ones_are_untouched(tmp_path: Path) -> None:
    done = moe_hf(tmp_path, "pretrained=demo", "list")
    listed = {line.removeprefix(" - ") for line in done.stdout.splitlines()}
    ours = {
        "easy_vqa",
        "okvqa",
        "okvqa_raw",
        "vqa_v2_val",
        "vqa_v2_test_dev",
        "vqa_v2_test",
        "moe_vqa",
    }
    assert ours | {"ok_vqa", "vqav2_val", "mmmu_val"} <= listed
