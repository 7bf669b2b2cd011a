"""The command studies a real model, and traces that are there, and says what it cannot do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.cli import main
from moe_eval_plugin.routing.files import write_trace
from tests.cli.json_docs import checked_json
from tests.cli.programs import moe_eval
from tests.routing.page.known_traces import known_trace, other_trace

for name in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(name, reason="the extra report is not installed")

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.programs import Ended


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traces")
    write_trace(known_trace(), folder / "one")
    write_trace(other_trace(), folder / "other")
    return folder


@pytest.fixture(scope="module")
def study(traces: Path) -> tuple[Path, Ended]:
    """A study of two traces, and what the command said."""
    folder = traces / "study"
    others = ("--against-traces", traces / "other")
    return folder, moe_eval("routing", "--traces", traces / "one", *others, "--output", folder)


def test_traces_become_a_page(study: tuple[Path, Ended]) -> None:
    folder, done = study
    said = " ".join(done.stdout.split())

    assert done.returncode == 0, done.stderr
    assert said.startswith("At k=1 the routers keep 64% of the weight of k=2.")
    assert "67% of the first 2 experts of a token are the same in another/model" in said
    assert f"Page: {folder / 'index.html'} (" in said
    assert "the routers keep 64%" in (folder / "index.html").read_text("utf-8")


def test_a_study_is_made_again_from_its_own_folder(study: tuple[Path, Ended]) -> None:
    folder, _ = study
    before = json.loads((folder / "routing.json").read_text("utf-8"))
    own = ("--traces", folder, "--against-traces", folder, "--output", folder)

    done = moe_eval("routing", *own, "--json")

    found = checked_json("routing", done.stdout)
    after = json.loads((folder / "routing.json").read_text("utf-8"))
    assert found["findings"][0].startswith("At k=1 the routers keep 64%")
    assert after["study"] == before["study"]
    assert [one["model"] for one in after["sources"]] == ["a/model", "another/model"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "moe-eval routing needs a model and --tasks, or --traces."),
        (("demo",), "moe-eval routing needs a model and --tasks, or --traces."),
        (("demo", "--tasks", "easy_vqa", "--limit", "0"), "--limit=0"),
        (("demo", "--traces", "there"), "--traces and demo exclude each other"),
        (
            ("--traces", "there", "--tasks", "easy_vqa", "--host", "lm-eval"),
            "--traces and --tasks, --host exclude each other",
        ),
        (("--against-traces", "there"), "--against-traces needs --traces"),
        (("--traces", "there"), "there is no folder."),
        (("--traces", "empty"), "empty"),
    ],
)
def test_a_wrong_request_ends_with_exit_code_2(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()

    done = moe_eval("routing", *arguments, "--output", "new/study", cwd=tmp_path)

    assert done.returncode == 2
    assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_folder_of_others_is_not_written_to(traces: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    done = moe_eval("routing", "--traces", traces / "one", "--output", tmp_path)

    assert done.returncode == 2
    assert "is not empty, and moe-eval routing did not write it" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_tokenizer_that_is_not_there_leaves_nothing_behind(traces: Path, tmp_path: Path) -> None:
    done = moe_eval(
        *("routing", "--traces", traces / "one", "--tokenizer", tmp_path),
        *("--output", tmp_path / "study"),
    )

    assert done.returncode == 2
    assert "Name a folder with one by --tokenizer." in done.stderr
    assert not (tmp_path / "study").exists()


def test_traces_of_other_tokens_cannot_be_compared(traces: Path, tmp_path: Path) -> None:
    write_trace(known_trace().select(task="first"), tmp_path / "half")

    done = moe_eval(
        *("routing", "--traces", traces / "one", "--against-traces", tmp_path / "half"),
        *("--output", tmp_path / "study"),
    )

    assert done.returncode == 2
    assert not (tmp_path / "study").exists()


def test_the_page_is_opened_on_request(
    traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)

    code = main(
        ["routing", "--traces", str(traces / "one"), "--output", str(tmp_path), "--open", "-q"]
    )

    assert code == 0
    assert opened == [(tmp_path / "index.html").as_uri()]


def test_the_embedded_model_is_studied(tmp_path: Path) -> None:
    folder = tmp_path / "study"

    done = moe_eval("routing", "demo", "--tasks", "easy_vqa", "--limit", "60", "--output", folder)

    assert done.returncode == 0, done.stderr[-3000:]
    content = json.loads((folder / "routing.json").read_text("utf-8"))
    page = (folder / "index.html").read_text("utf-8")
    (source,) = content["sources"]
    (first, *_), mass = content["study"]["layers"], content["study"]["summary"][0]["mass"]
    assert content["study"]["n_questions"] == 60
    assert first["published_k"] == 8
    assert sum(first["groups"][0]["load"]["tokens"]) == 8 * content["study"]["n_tokens"]
    assert [one["k"] for one in mass] == list(range(1, 9))
    share = f"{100 * mass[3]['retained']['mean']:.0f}%"
    headline = f"At k=4 the routers keep {share} of the weight of k=8"
    assert done.stdout.startswith(f"{headline}.")
    assert f'<p class="headline">{headline}</p>' in page
    assert 'id="modality"' in page
    assert " question" in content["vocabulary"].values()
    assert "␣question" in page
    assert source["collection"]["settings"] == {"host": "lmms-eval", "limit": 60}
    assert f"moe-eval routing demo --tasks easy_vqa --limit 60 --output {folder}" in page
