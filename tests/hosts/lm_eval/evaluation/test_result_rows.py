"""What lm-eval's results hold besides its own: rows, arrows and records, and groups as before."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from lm_eval.utils import make_table

from moe_eval_plugin.hosts.lm_eval.evaluation.result_rows import score_of
from moe_eval_plugin.hosts.lm_eval.registration import register
from moe_eval_plugin.hosts.result_rows import add_rows
from tests.hosts.lm_eval.evaluation.test_answer_cache import Foreign
from tests.hosts.lm_eval.local_tasks import evaluate, write_tasks
from tests.results.sample_records import record

Results = dict[str, Any]
GROUP = {
    "group": "both",
    "task": ["choices", "words"],
    "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}],
    "metadata": {"version": 1.0},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Results of the host for a group and a text, of a model that is not ours."""
    register()
    folder = write_tasks(tmp_path_factory.mktemp("tasks"))
    (folder / "both.yaml").write_text(yaml.safe_dump(GROUP), "utf-8")
    return evaluate(Foreign(), ["both", "texts"], folder)


def host_results(*metrics: Any, higher: bool | None = True, **rows: object) -> Results:
    """Make results as the host does, of one task with these metrics and rows."""
    named = {name.replace("__", ","): value for name, value in rows.items()}
    names = {name.partition(",")[0] for name in named}
    return {
        "results": {"a": {"name": "a", "alias": "a", "sample_len": 4, **named}},
        "configs": {"a": {"metric_list": list(metrics)}},
        "higher_is_better": {"a": dict.fromkeys(names, higher)},
    }


def test_every_model_has_a_speed_and_groups_are_as_the_host_makes_them(results: Results) -> None:
    assert set(results["moe_eval"]) == {"choices", "words", "texts"}
    for task in results["moe_eval"]:
        assert results["results"][task]["samples_per_s,none"] > 0
        assert results["higher_is_better"][task]["samples_per_s"] is True
        provenance = results["moe_eval"][task]["provenance"]
        assert (provenance["host"], provenance["timed"]) == ("lm-eval", "from outside")
        assert "lmms-eval" not in provenance["versions"]
    for of_group in (results["groups"]["both"], results["results"]["both"]):
        metrics = {name.partition(",")[0] for name in of_group} - {"alias", "name"}
        assert metrics <= {"acc", "acc_stderr", "sample_len", "sample_count"}
    assert set(results["higher_is_better"]["both"]) == {"acc", "acc_norm"}


def test_the_hosts_own_table_has_our_rows_with_arrows_and_no_error_bars(results: Results) -> None:
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in make_table(results).splitlines()
    ]
    ours = [line for line in lines if line[4:5] == ["samples_per_s"]]
    assert len(ours) == 3
    for line in ours:
        assert (line[2], line[5], line[7], line[8]) == ("none", "↑", "", "")
        assert float(line[6]) > 0


def test_rows_of_one_run_are_not_those_of_the_next() -> None:
    host = host_results({"metric": "acc"}, acc__none=0.5)
    before = host["higher_is_better"]["a"]
    add_rows(host, {"a": record("a")}, score_of)
    assert "samples_per_s" not in before
    assert host["higher_is_better"]["a"] == {**before, **host["higher_is_better"]["a"]}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        # Most definitions name the metric alone: the host's registry knows that it is a mean.
        (
            host_results(
                {"metric": "acc"}, {"metric": "acc_norm"}, acc__none=0.5, acc_norm__none=0.25
            ),
            ("acc", 0.5),
        ),
        (
            host_results({"metric": "acc_norm"}, acc__none=0.5, acc_norm__none=0.25),
            ("acc_norm", 0.25),
        ),
        (host_results({"metric": "own", "aggregation": "mean"}, own__none=1), ("own", 1.0)),
        (
            host_results(
                {"metric": "exact_match"},
                **{"exact_match__strict-match": 0.5, "exact_match__flexible-extract": 0.75},
            ),
            ("exact_match,strict-match", 0.5),
        ),
    ],
)
def test_the_score_is_the_first_mean_of_the_task(
    host: Results, expected: tuple[str, float]
) -> None:
    score = score_of(host, "a")
    assert score is not None
    assert (score.metric, score.value) == expected


@pytest.mark.parametrize(
    "host",
    [
        host_results({"metric": "word_perplexity"}, higher=False, word_perplexity__none=0.5),
        host_results({"metric": "mcc"}, mcc__none=0.5),
        host_results({"metric": "f1", "aggregation": "f1"}, f1__none=0.5),
        host_results({"metric": "acc"}, acc__none=50.0),
        host_results({"metric": "acc"}, acc__none="N/A"),
        host_results({"metric": "acc"}, higher=None, acc__none=0.5),
        host_results({"metric": "unheard_of"}, unheard_of__none=0.5),
        {**host_results(acc__none=0.5), "configs": {}},
    ],
)
def test_other_scores_count_no_correct_answers(host: Results) -> None:
    assert score_of(host, "a") is None
