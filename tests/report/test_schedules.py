"""A real sweep of uniform k, a searched schedule and policies, from the run to every output."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import pytest

for name in ("altair", "jinja2", "vl_convert", "lmms_eval"):
    pytest.importorskip(name, reason="the extra report or lmms-eval is not installed")

import moe_eval_plugin as moe  # noqa: E402
from moe_eval_plugin.experts.schedules.parser import parse_experts_k  # noqa: E402
from moe_eval_plugin.experts.schedules.tuned_file import (  # noqa: E402
    TunedFile,
)
from moe_eval_plugin.report.answer.prices import deployment_text  # noqa: E402
from moe_eval_plugin.report.build import Options, Report, build  # noqa: E402
from moe_eval_plugin.report.paper.files import paper_files  # noqa: E402
from tests.cli.json_docs import documented  # noqa: E402
from tests.cli.programs import moe_eval  # noqa: E402
from tests.experts.schedules.tuned_files import write_tuned_file  # noqa: E402
from tests.report.charts.chart_values import values  # noqa: E402
from tests.report.schedule_runs import SEARCHED, tuning_record  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.report.charts.base import Figure

# On 56 images, where 50 are the least for a verdict.
LIMIT = 560
CHOSEN_ON = range(20)
KINDS = {
    "k=8": "uniform k",
    "k=2": "uniform k",
    "tuned-0.25": "searched schedule",
    "threshold:0.3": "policy",
    "top_p:0.7": "policy",
}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schedules")
    file = folder / "tuned-0.25.yaml"
    schedule = parse_experts_k(SEARCHED)
    write_tuned_file(file, TunedFile(schedule, tuning=tuning_record(doc_ids=CHOSEN_ON)))
    ended = moe_eval(
        *("sweep", "--model-args", "pretrained=demo,dtype=float32", "--tasks", "easy_vqa"),
        *("--limit", LIMIT, "--batch-size", 16, "--device", "cpu", "--speed-budget", 3),
        *("--experts-k", 8, 2, f"@{file}", "--policies", "threshold:0.3", "top_p:0.7"),
        *("--output", folder / "sweep"),
    )
    assert ended.returncode == 0, ended.stderr
    return folder / "sweep"


@pytest.fixture(scope="module")
def report(sweep: Path) -> Report:
    return build([sweep], Options())


def figure(report: Report, name: str) -> Figure:
    (found,) = [one for one in report.figures if one.name == f"easy_vqa-{name}"]
    return found


def spec(report: Report, name: str) -> str:
    return json.dumps(figure(report, name).chart.to_dict())


def test_settings_have_their_kind_their_price_and_the_record_of_the_search(sweep: Path) -> None:
    loaded = moe.load(sweep)

    assert {one.label: one.kind for one in loaded} == KINDS
    tuned = loaded["tuned-0.25"]
    assert tuned.tuning is not None
    assert tuned.tuning.n_tried == 37
    assert (tuned.observed_k, tuned.price_share) == (2.0, 0.25)
    assert tuned.predicted_speed_up is not None
    assert tuned.predicted_speed_up > 1
    policy = loaded["top_p:0.7"]
    assert policy.observed_k is not None
    assert 1 < policy.observed_k < 8


def test_a_searched_schedule_is_better_than_uniform_k_at_the_same_price(sweep: Path) -> None:
    rows = {row["setting"]: row for row in moe.load(sweep).equal_price}

    tuned = rows["tuned-0.25"]
    assert (tuned["uniform"], tuned["verdict"]) == ("k=2", "better")
    assert tuned["n_questions"] == LIMIT - len(CHOSEN_ON)
    assert tuned["difference_low"] > 0
    assert tuned["n_comparisons"] == 3
    # Timed for a moment only: the interval may be missing, and the ratio is there.
    assert tuned["speed"] > 0
    assert tuned["speed_up"] > 0
    assert rows["top_p:0.7"]["uniform"] == "k=8"
    assert 0 < rows["top_p:0.7"]["skipped_share"] < 1
    assert rows["top_p:0.7"]["skipped_share"] == pytest.approx(1 - rows["top_p:0.7"]["price_share"])


def test_what_deploys_a_schedule_can_be_run(
    sweep: Path, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    (numbers,) = report.series
    found = {one.point.label: deployment_text(one) for one in numbers.points}

    command = found.pop("tuned-0.25").removeprefix("To deploy it: moe-eval ")
    assert str(sweep / "schedules" / "tuned-0.25.yaml") in command
    exported = moe_eval(*shlex.split(command))
    assert exported.returncode == 0, exported.stderr
    assert {*found.values()} == {""}
    # The results without the files of the sweep: the schedule itself.
    monkeypatch.setattr("moe_eval_plugin.report.answer.prices.SCHEDULES", "gone")
    (alone,) = [deployment_text(one) for one in numbers.points if deployment_text(one)]
    assert f"schedule export {SEARCHED} --for all --model demo" in alone
    again = moe_eval(*shlex.split(alone.removeprefix("To deploy it: moe-eval ")))
    assert again.returncode == 0, again.stderr
    assert "vllm serve" in exported.stdout
    assert "vllm serve" in again.stdout


def test_questions_of_the_calibration_are_nowhere(sweep: Path, report: Report) -> None:
    (numbers,) = report.series

    assert {one.n_questions for one in numbers.points} == {LIMIT - len(CHOSEN_ON)}
    left = [
        question.doc_id
        for one in numbers.points
        for run in one.point.runs
        for question in run.questions.values()
    ]
    assert not {str(number) for number in CHOSEN_ON} & set(left)
    note = f"20 of {LIMIT} questions took part in choosing tuned-0.25"
    assert note in report.html
    ended = moe_eval("compare", sweep, "--no-progress")
    assert "20 questions took part in choosing tuned-0.25, and are left out." in " ".join(
        ended.stdout.split()
    )


def test_the_page_has_them_in_one_picture_and_at_equal_price(report: Report) -> None:
    html = report.html

    assert '<a href="#equal-price">At equal price</a>' in html
    assert "better (significant)" in html
    assert "searched schedule, 37 tried" in html
    assert "tuned-0.25 uses 75% fewer experts" in html
    main = spec(report, "loss-against-speed-up")
    # The legend has the kinds that are drawn, and no schedule by hand.
    assert '"values": ["uniform k", "searched schedule", "policy"]' in main
    at_price = spec(report, "accuracy-at-price")
    assert "price: observed experts per token and layer" in at_price
    assert {f"{key}.csv" for key in ("table", "equal-price")} <= set(report.tables)


def test_the_line_over_the_price_goes_through_uniform_k_alone(report: Report) -> None:
    rows = values(figure(report, "accuracy-at-price"))

    on_line = {row["label"]: row["front"] for row in rows if row["kind"] != "window"}
    assert on_line.pop("k=8 (published)")
    assert on_line == {label: label == "k=2" for label in [*KINDS][1:]}


def test_the_heat_map_is_the_schedule(report: Report) -> None:
    found = figure(report, "k-by-layer")
    rows: dict[str, list[float]] = {}
    for row in values(found):
        rows.setdefault(row["label"], []).append(row["value"])

    assert rows["tuned-0.25"] == [3, 3, 1, 1]
    assert rows["k=2"] == [2, 2, 2, 2]
    assert {"top_p:0.7, text", "top_p:0.7, image"} <= rows.keys()
    assert all(1 <= k < 8 for k in rows["top_p:0.7, text"])
    assert "tuned-0.25: 3, 3, 1, 1" in found.description


def test_the_command_and_the_paper_have_them_too(sweep: Path, report: Report) -> None:
    ended = moe_eval("report", sweep, "--json", "--output", sweep / "report.html", "--no-progress")
    content = json.loads(ended.stdout)

    assert {row["setting"] for row in content["equal_price"]} == {*KINDS} - {"k=8", "k=2"}
    assert set(content["equal_price"][0]) == documented("a comparison at equal price")
    assert set(content["answers"][0]) == documented("an answer")
    files = paper_files(report.series)
    assert b"%PDF" in files["accuracy-at-price.pdf"][:8]
    assert b"searched schedule" in files["table.tex"]
    assert b"At equal price (uniform k in brackets)" in files["caption.txt"]
