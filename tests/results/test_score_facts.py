"""What every export says of a score: nothing is made up, and nothing unknown is 0."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.measure.speed import TaskSpeed
from moe_eval_plugin.results.files import read_run
from moe_eval_plugin.results.record import RunRecord
from moe_eval_plugin.results.score_facts import ScoreFacts, collect
from moe_eval_plugin.results.steady_decode import SteadyDecode
from tests.results.sample_runs import (
    ACCURACY,
    DATA_REVISION,
    ISO_DATE,
    MODEL,
    MODEL_REVISION,
    SPEED,
    VERSIONS,
    easy_vqa,
    measured_from_outside,
    renamed,
    results,
    results_of_another_model,
    with_official_files,
    written,
)

if TYPE_CHECKING:
    from pathlib import Path


def facts_of(folder: Path, *contents: dict[str, Any]) -> dict[str, ScoreFacts]:
    return {facts.metric: facts for facts in collect(written(folder, *contents))}


def test_a_score_carries_k_model_data_scoring_backend_and_versions(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, results(k=4))["vqa_accuracy"]
    assert facts.known() == {
        "model": MODEL,
        "task": "okvqa",
        "metric": "vqa_accuracy",
        "value": ACCURACY,
        "stderr": 0.0061,
        "unit": "proportion",
        "higher_is_better": True,
        "n": 5046,
        "n_questions": 5046,
        "scoring": "lmms-vqav2",
        "answer_set": "stemmed",
        "experts_k": "4",
        "num_experts_per_tok": 4,
        "observed_num_experts_per_tok": 4,
        "baseline_num_experts_per_tok": 8,
        "experts_policy": "uniform",
        "renorm": "native",
        "model_revision": MODEL_REVISION,
        "backend": "moe_hf",
        "host": "lmms-eval",
        "host_version": "0.7.3",
        "versions": VERSIONS,
        "settings": {"model_class": "Qwen3VLMoeForConditionalGeneration", "batch_size": 8},
        "dataset": "lmms-lab/OK-VQA",
        "split": "val2014",
        "data_origin": "hub: lmms-lab/OK-VQA",
        "data_revision": DATA_REVISION,
        "samples_per_s": SPEED,
        "speed_from": "timed once, while the task was answered",
        "wall_s": 286.5,
        "n_input_tokens": 70_000,
        "n_output_tokens": 10_000,
        "date": ISO_DATE,
    }


def test_rows_of_k_are_no_scores_and_speed_is_one(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, results())
    assert list(facts) == ["vqa_accuracy", "vqa_accuracy_official", "samples_per_s"]


def test_k_is_not_known_of_a_model_that_is_not_ours(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, results_of_another_model())["vqa_accuracy"]
    k = (
        facts.num_experts_per_tok,
        facts.observed_num_experts_per_tok,
        facts.baseline_num_experts_per_tok,
    )
    assert k == (None, None, None)
    assert (facts.k, facts.setting, facts.is_ours) == (None, "", False)
    assert not {name for name in facts.known() if "experts" in name}
    assert (facts.model, facts.backend, facts.model_revision) == (MODEL, "qwen3_vl", None)


@pytest.mark.parametrize(
    ("experts", "setting"),
    [
        ({"experts_k": "4"}, "k=4"),
        ({"experts_k": None}, "as published"),
        ({"experts_k": "8/1-2:4", "renorm": "unit"}, "k=8/1-2:4, unit"),
        ({"experts_k": None, "experts_policy": "top_p:0.7"}, "as published, top_p:0.7"),
    ],
)
def test_a_setting_says_what_was_asked_of_the_routers(
    tmp_path: Path, experts: dict[str, object], setting: str
) -> None:
    content = results()
    content["moe_eval"]["okvqa"]["experts"] |= experts
    assert facts_of(tmp_path, content)["vqa_accuracy"].setting == setting


@pytest.mark.parametrize("order", list(itertools.permutations([8, 1, None, 4])))
def test_scores_are_ordered_by_task_and_from_large_k_to_small(
    tmp_path: Path, order: tuple[int | None, ...]
) -> None:
    ours = [results(k=k) if k else results_of_another_model() for k in order]
    found = collect(written(tmp_path, *ours, easy_vqa(2)))
    tasks = [facts.task for facts in found]
    assert tasks == sorted(tasks)
    ks = [facts.k for facts in found if facts.metric == "vqa_accuracy"]
    assert ks == [8, 4, 1, None]


def test_a_model_as_published_stands_at_the_k_it_was_observed_to_use(tmp_path: Path) -> None:
    found = collect(written(tmp_path, results(k=4), results(k=None), results(k=2)))
    ks = [(facts.k, facts.num_experts_per_tok) for facts in found if facts.is_main]
    assert ks == [(8, None), (4, 4), (2, 2)]


def test_a_run_that_is_given_twice_counts_once(tmp_path: Path) -> None:
    one, other = written(tmp_path, results(), results())
    again = read_run(one.path.parent / ".." / one.path.parent.name / one.path.name)
    assert len(collect([one, other, again])) == len(collect([one, other]))


def test_only_the_task_that_is_named_is_taken(tmp_path: Path) -> None:
    runs = written(tmp_path, results(), easy_vqa())
    assert {facts.task for facts in collect(runs, "easy_vqa")} == {"easy_vqa"}


def test_a_task_that_no_run_has_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    runs = written(tmp_path, results(), easy_vqa())
    with pytest.raises(DataError, match=r"no task 'mmmu'\. Their tasks: easy_vqa, okvqa\."):
        collect(runs, "mmmu")


def test_a_run_without_a_score_is_refused(tmp_path: Path) -> None:
    content = results()
    content["results"]["okvqa"] = {"alias": "okvqa", "num_experts_per_tok,none": 4}
    with pytest.raises(DataError, match=r"have no score\. Their tasks: okvqa"):
        collect(written(tmp_path, content), "okvqa")


def test_each_metric_has_its_own_scoring_mode_and_speed_has_none(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, results())
    modes = {metric: one.scoring for metric, one in facts.items()}
    assert modes == {
        "vqa_accuracy": "lmms-vqav2",
        "vqa_accuracy_official": "official",
        "samples_per_s": None,
    }
    assert facts_of(tmp_path, easy_vqa())["exact_match"].scoring == "lower case"


def test_a_row_of_an_answer_type_has_its_mode_and_its_own_n(tmp_path: Path) -> None:
    content = results()
    content["results"]["okvqa"] |= {
        "vqa_accuracy_official_yes_no,none": 0.8,
        "vqa_accuracy_official_number,none": 0.4,
    }
    content["moe_eval_scores"] = {"okvqa": {"answer_types": {"yes/no": {"n": 17}}}}
    facts = facts_of(tmp_path, content)
    part = facts["vqa_accuracy_official_yes_no"]
    assert (part.scoring, part.n, part.unit) == ("official", 17, "proportion")
    assert facts["vqa_accuracy_official_number"].n is None
    assert facts["vqa_accuracy_official"].n == 5046


@pytest.mark.parametrize("part", ["experts", "speed", "provenance"])
def test_a_part_of_a_record_that_has_another_form_is_refused_by_file_and_key(
    tmp_path: Path, part: str
) -> None:
    content = results()
    content["moe_eval"]["okvqa"][part] = "gone"
    with pytest.raises(DataError, match=rf"_results\.json: moe_eval\.okvqa\.{part} is 'gone'"):
        written(tmp_path, content)


def test_questions_that_were_left_out_count_as_questions(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, with_official_files(results()))["vqa_accuracy"]
    assert (facts.n, facts.n_questions, facts.is_partial) == (26, 5046, True)
    assert (facts.data_revision, facts.data_origin) == (None, "official files")
    assert facts.data_sha256 == {"questions.json": "ab" * 32, "annotations.json": "cd" * 32}


def test_a_limited_run_is_partial_and_a_whole_one_is_not(tmp_path: Path) -> None:
    content = results()
    assert not facts_of(tmp_path, content)["vqa_accuracy"].is_partial
    content["n-samples"]["okvqa"]["effective"] = 16
    assert facts_of(tmp_path, content)["vqa_accuracy"].is_partial


@pytest.mark.parametrize("zone", [None, "", "Nowhere/Else", "America", 8])
def test_a_date_without_a_time_zone_is_not_known(tmp_path: Path, zone: object) -> None:
    content = results()
    content["config"]["resolved_cli_args"]["timezone"] = zone
    assert facts_of(tmp_path, content)["vqa_accuracy"].date is None


def test_the_score_that_stands_for_a_task_is_the_one_that_it_names(tmp_path: Path) -> None:
    main = [facts.metric for facts in collect(written(tmp_path, results())) if facts.is_main]
    assert main == ["vqa_accuracy"]


def test_the_only_score_stands_for_a_task_that_names_none(tmp_path: Path) -> None:
    content = results()
    content["configs"]["okvqa"]["score_key"] = "score"
    assert not [facts for facts in collect(written(tmp_path, content)) if facts.is_main]
    del content["results"]["okvqa"]["vqa_accuracy_official,none"]
    main = [facts.metric for facts in collect(written(tmp_path, content)) if facts.is_main]
    assert main == ["vqa_accuracy"]


@pytest.mark.parametrize(
    ("metric", "unit", "bounds"),
    [
        ("vqa_accuracy", "proportion", (0, 1)),
        ("n_answered", "count", (0, float("inf"))),
        ("samples_per_s", "samples/s", (0, float("inf"))),
        ("output_tokens_per_s", "tokens/s", (0, float("inf"))),
        ("ttft_s_p95", "s", (0, float("inf"))),
        ("mme_perception_score", None, None),
    ],
)
def test_units_and_bounds_are_told_only_where_they_are_known(
    tmp_path: Path, metric: str, unit: str | None, bounds: tuple[float, float] | None
) -> None:
    content = results()
    content["results"]["okvqa"][f"{metric},none"] = 0.5
    facts = facts_of(tmp_path, content)[metric]
    assert (facts.unit, facts.bounds) == (unit, bounds)


@pytest.mark.parametrize(
    ("pretrained", "model", "model_id"),
    [
        (MODEL, MODEL, MODEL),
        ("demo", "demo", "moe-eval-plugin/demo"),
        ("/home/someone/secret/final", "final", "local/final"),
        ("/", "unknown", "local/unknown"),
    ],
)
def test_a_model_is_named_without_the_folders_it_lies_in(
    tmp_path: Path, pretrained: str, model: str, model_id: str
) -> None:
    facts = facts_of(tmp_path, renamed(results(), pretrained))["vqa_accuracy"]
    assert (facts.model, facts.model_id, facts.pretrained) == (model, model_id, pretrained)
    assert facts.known()["model"] == model
    assert "secret" not in str(facts.known())
    assert str(tmp_path) not in str(facts.known())


def test_a_model_of_another_adapter_is_never_the_embedded_one(tmp_path: Path) -> None:
    content = renamed(results_of_another_model(), "demo")
    assert facts_of(tmp_path, content)["vqa_accuracy"].model_id == "unknown/demo"


def test_a_record_of_a_model_that_is_not_ours_has_speed_and_no_k(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, measured_from_outside())
    assert set(facts) == {
        "vqa_accuracy",
        "vqa_accuracy_official",
        "samples_per_s",
        "seconds_per_correct_answer",
    }
    main = facts["vqa_accuracy"]
    assert main.is_main
    assert (main.k, main.experts_k, main.setting, main.is_ours) == (None, None, "", False)
    assert (main.samples_per_s, main.wall_s) == (5046 / 720, 720.0)
    assert (main.n_input_tokens, main.n_output_tokens) == (None, None)
    assert (main.pretrained, main.versions) == (MODEL, {"torch": "2"})
    assert not {name for name in main.known() if "experts" in name}


NEW_ROWS = {
    "output_tokens_per_s": "tokens/s",
    "prefill_tokens_per_s": "tokens/s",
    "steady_decode_tokens_per_s": "tokens/s",
    "ttft_s_median": "s",
    "e2e_latency_s_median": "s",
    "seconds_per_correct_answer": "s",
    "n_output_tokens_per_sample": "count",
    "peak_memory_gib": "GiB",
    "joules_per_sample": "J",
    "samples_per_s": "samples/s",
}


def test_every_row_of_speed_has_a_unit_and_none_is_the_score_of_its_task(tmp_path: Path) -> None:
    content = results()
    known = RunRecord(
        "okvqa", None, TaskSpeed(1, 1, 1, 1.0), {"batch_size": 1}, steady_decode=SteadyDecode()
    )
    content["moe_eval"]["okvqa"]["extra"] = {"samples_per_hour": 6.0}
    del content["configs"]["okvqa"]["score_key"]
    rows = content["results"]["okvqa"]
    del rows["vqa_accuracy_official,none"]
    rows |= dict.fromkeys((f"{name},none" for name in [*NEW_ROWS, "samples_per_hour"]), 6.0)
    facts = facts_of(tmp_path, content)
    assert {name: facts[name].unit for name in NEW_ROWS} == NEW_ROWS
    assert [name for name, one in facts.items() if one.is_main] == ["vqa_accuracy"]
    assert set(known.rows()) == set(NEW_ROWS)


def test_what_the_hardware_is_and_what_plugins_did_are_no_settings(tmp_path: Path) -> None:
    content = results()
    provenance = content["moe_eval"]["okvqa"]["provenance"]
    before = facts_of(tmp_path / "before", results())["vqa_accuracy"].settings
    provenance |= {"hardware": {"name": "x"}, "energy": {"source": "RAPL"}, "plugin_failures": []}
    after = facts_of(tmp_path / "after", content)["vqa_accuracy"].settings
    assert after == before
    assert "batch_size" in after


def test_answers_of_a_cache_are_in_a_score_and_not_in_what_was_measured(tmp_path: Path) -> None:
    content = results(k=4)
    record = content["moe_eval"]["okvqa"]
    record |= {"schema_version": 2, "n_answers_from_cache": 5045}
    record["speed"] |= {"n_samples": 1}
    content["results"]["okvqa"]["n_answers_from_cache,none"] = 5045
    found = facts_of(tmp_path, content)
    assert found["vqa_accuracy"].n == 5046
    assert found["samples_per_s"].n == 1
    assert {one.n_answers_from_cache for one in found.values()} == {5045}
    assert "n_answers_from_cache" not in found


def test_a_published_model_that_a_cache_answered_for_has_the_published_k(tmp_path: Path) -> None:
    content = results(k=None)
    content["moe_eval"]["okvqa"]["experts"]["observed"] = None
    facts = facts_of(tmp_path, content)["vqa_accuracy"]
    assert (facts.k, facts.observed_num_experts_per_tok) == (8, None)
