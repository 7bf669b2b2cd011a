"""The whole way of a FLAME-MoE checkpoint: converted, inspected, swept, reported, and studied."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest
from lm_eval import tasks as host_tasks
from tokenizers import Regex, Tokenizer, decoders
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

from moe_eval_plugin.results.files import find_results, read_run
from tests.cli.programs import moe_eval
from tests.conversion.checkpoints import unpack
from tests.hosts.lm_eval.flame_suite_data import TASKS, write_suite_data
from tests.hosts.lm_eval.running_command.command_runs import NO_TASKS, _add_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.programs import Ended

LAYOUTS = ("deepseek", "qwen2_moe")
KS = (6, 4, 2, 1)
N_ROWS, N_TRAIN, N_ASKED = 96, 11, 2
END = "<|endoftext|>"


def save_tokenizer(folder: Path) -> None:
    """Save a tokenizer of characters, which is as large as the vocabulary of the checkpoint."""
    folder.mkdir()
    # Printable ASCII, with a line end in the place of the tilde.
    characters = [*(chr(code) for code in range(32, 126)), "\n"]
    ids = {END: 0, **{one: number for number, one in enumerate(characters, 1)}}
    assert len(ids) == N_ROWS
    found = Tokenizer(WordLevel(ids, unk_token=END))
    found.pre_tokenizer = Split(Regex(r"[\s\S]"), "isolated")
    found.decoder = decoders.Fuse()
    found.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder with what a user has at first, where commands find the suite's tasks alone."""
    found = tmp_path_factory.mktemp("flame")
    unpack("0.12.3", found / "run")
    save_tokenizer(found / "tokenizer")
    write_suite_data(found / "data", N_TRAIN, N_ASKED)
    for name in ("openbookqa", "winogrande", "piqa", "arc", "hellaswag"):
        shutil.copytree(Path(host_tasks.__file__).parent / name, found / "none" / name)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MOE_EVAL_DATA", str(found / "data"))
        patched.setenv("HF_DATASETS_CACHE", str(found / "cache"))
        patched.chdir(found)
        with (
            patch("lm_eval.tasks.manager.__file__", str(found / "none" / "a.py")),
            patch(NO_TASKS, lambda _: []),
            # The host asks a dozen programs for the versions of what is installed.
            patch("lm_eval.evaluator.add_env_info", _add_version),
        ):
            yield found


@pytest.fixture(scope="module")
def converted() -> dict[str, Ended]:
    return {
        layout: moe_eval(
            *("convert", "flame-moe", "run", layout),
            *("--layout", layout, "--tokenizer", "tokenizer", "--json"),
        )
        for layout in LAYOUTS
    }


@pytest.fixture(scope="module")
def swept(converted: dict[str, Ended]) -> Ended:
    assert converted["deepseek"].returncode == 0
    return moe_eval(
        *("sweep", "--host", "lm-eval", "--model-args", "pretrained=deepseek,dtype=float32"),
        *("--tasks", "flame_moe", "--experts-k", *KS, "--batch-size", 8, "--device", "cpu"),
        *("--speed-budget", 0, "--output", "runs/deepseek"),
    )


@pytest.fixture(scope="module")
def ran(converted: dict[str, Ended]) -> Ended:
    """Return how the other layout ended at a k of 2, as one run of the host."""
    assert converted["qwen2_moe"].returncode == 0
    return moe_eval(
        *("lm-eval", "run", "--model", "moe_hf", "--tasks", "flame_moe", "--log_samples"),
        *("--model_args", "pretrained=qwen2_moe,dtype=float32,experts_k=2", "--batch_size", 8),
        *("--device", "cpu", "--output_path", "runs/qwen2_moe/k2"),
    )


def scores(folder: Path, layout: str, k: int) -> dict[str, list[float]]:
    """Return the log-likelihoods of all choices by task, in the order of the questions."""
    found: dict[str, list[float]] = {}
    for task in TASKS:
        (path,) = (folder / "runs" / layout / f"k{k}").rglob(f"samples_{task}_*.jsonl")
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        lines.sort(key=lambda one: one["doc_id"])
        found[task] = [float(one[0][0]) for line in lines for one in line["resps"]]
    return found


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return a table of the routing study."""
    path = folder / "routing" / "statistics" / f"{name}.parquet"
    return cast("list[dict[str, Any]]", pq.read_table(path).to_pylist())


def test_both_layouts_are_inspected_as_the_model_that_was_converted(
    converted: dict[str, Ended],
) -> None:
    for layout, ended in converted.items():
        assert ended.returncode == 0, ended.stderr
        summary = json.loads(ended.stdout)
        found = moe_eval("inspect", layout, "--json")
        assert found.returncode == 0, found.stderr
        facts = json.loads(found.stdout)
        assert (facts["baseline_num_experts_per_tok"], facts["num_experts"]) == (6, 8)
        # The layout of Qwen has one shared expert, as wide as the two together.
        assert facts["num_shared_experts"] == {"deepseek": 2, "qwen2_moe": 1}[layout]
        if layout == "deepseek":
            assert facts["total_parameters"] == summary["parameters"]


def test_the_suite_is_answered_at_each_k_alike_in_both_layouts(
    folder: Path, swept: Ended, ran: Ended
) -> None:
    assert (swept.returncode, ran.returncode) == (0, 0), swept.stderr + ran.stderr
    # A row names its task, where a group stands for several.
    rows = [line.split()[:2] for line in swept.stdout.splitlines()]
    assert [row for row in rows if row[:1] == ["k=2"]] == [["k=2", name] for name in TASKS]
    for name, k in [*(("deepseek", k) for k in KS), ("qwen2_moe", 2)]:
        tasks = read_run(find_results(folder / "runs" / name / f"k{k}")).tasks
        observed = {one.task: one.record and one.record.experts for one in tasks}
        found = {task: one and one.observed for task, one in observed.items()}
        assert found == dict.fromkeys(TASKS, k)
    by_k = {k: scores(folder, "deepseek", k) for k in KS}
    other = scores(folder, "qwen2_moe", 2)
    assert by_k[2] == {task: pytest.approx(other[task], abs=1e-3) for task in TASKS}
    assert all(by_k[6] != by_k[k] for k in (4, 2, 1))


def test_one_page_shows_both(folder: Path, swept: Ended, ran: Ended) -> None:
    assert (swept.returncode, ran.returncode) == (0, 0)
    ended = moe_eval("report", "runs", "--task", "arc_easy", "--output", "page.html")
    assert ended.returncode == 0, ended.stderr
    page = (folder / "page.html").read_text("utf-8")
    assert all(text in page for text in ("arc_easy", *LAYOUTS))


def test_the_sweep_is_packed_with_its_sources(swept: Ended) -> None:
    assert swept.returncode == 0
    ended = moe_eval("bundle", "runs/deepseek", "--output", "flame.tar.gz")
    assert ended.returncode == 0, ended.stderr
    checked = moe_eval("reproduce", "flame.tar.gz", "--check-only")
    assert checked.returncode == 0, checked.stderr


def test_routers_of_both_layouts_choose_the_same(folder: Path, converted: dict[str, Ended]) -> None:
    assert all(one.returncode == 0 for one in converted.values())
    ended = moe_eval(
        *("routing", "deepseek", "--against", "qwen2_moe", "--host", "lm-eval"),
        *("--tasks", "flame_moe", "--batch-size", 8, "--device", "cpu", "--limit", 1),
        *("--model-args", "dtype=float32", "--output", "routing"),
    )
    assert ended.returncode == 0, ended.stderr
    assert (folder / "routing/index.html").stat().st_size > 0
    overlap = table(folder, "saturation")
    assert {row["k"] for row in overlap} == {1, 2, 4, 6}
    assert all(row["overlap"] == pytest.approx(1, abs=0.01) for row in overlap)
    mass = [row for row in table(folder, "mass") if (row["kind"], row["layer"]) == ("all", None)]
    kept = [row["retained"] for row in sorted(mass, key=lambda row: row["k"])]
    assert len(kept) == 6
    assert kept == sorted(kept)
    assert kept[-1] == pytest.approx(1)
