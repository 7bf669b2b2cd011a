"""FLAME-MoE's traces, as published and as its hooks write them, become routing traces."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.routing.published_traces import read_flame_traces
from moe_eval_plugin.routing.statistics.study import study
from tests.routing.published_traces.captures import (
    EXPERTS,
    SEQUENCE,
    K,
    captured,
    write_captures,
    write_published,
)

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.routing.trace import RoutingTrace

N_TOKENS = 2 * 2 * SEQUENCE


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("captures")
    write_captures(root)
    return root


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "flame-moe-290m"
    write_published(root)
    return root


def check(trace: RoutingTrace, iteration: int) -> None:
    """Compare each token with what the router chose for it, token by token."""
    capture = captured(1, 2, iteration)
    ids = capture.ids.view(2, SEQUENCE)
    for sequence, position in ((0, 0), (0, 7), (1, 3), (1, 2047)):
        row = (2 + sequence) * SEQUENCE + position
        assert trace.tokens.token_id[row] == ids[sequence, position]
        assert trace.tokens.question[row] == 2 + sequence
        assert trace.tokens.position[row] == position
        for layer, number in zip(trace.layers, (2, 3), strict=True):
            probabilities = capture.dense[number].view(SEQUENCE, 2, EXPERTS)[position, sequence]
            expected = probabilities.topk(K)
            assert layer.experts[row].tolist() == expected.indices.tolist()
            assert layer.scores is not None
            np.testing.assert_allclose(layer.scores[row], expected.values, rtol=1e-3)


def test_captures_of_the_hooks_are_put_into_the_order_of_the_tokens(captures: Path) -> None:
    trace = read_flame_traces(captures)

    check(trace, 220)
    assert (trace.model, trace.revision) == ("flame-moe-290m/31066", "iteration 220")
    assert [layer.path for layer in trace.layers] == ["layer 2", "layer 3"]
    assert {(layer.num_experts, layer.published_k, layer.width) for layer in trace.layers} == {
        (64, 6, 6)
    }
    assert (trace.n_tokens, trace.notes) == (N_TOKENS, ())


def test_the_older_hook_saves_all_probabilities(tmp_path: Path, captures: Path) -> None:
    write_captures(tmp_path, is_dense=True)

    found, expected = read_flame_traces(tmp_path), read_flame_traces(captures)

    assert (found.layers[1].experts == expected.layers[1].experts).all()
    assert (found.layers[1].scores == expected.layers[1].scores).all()


def test_published_files_are_read_as_their_card_says(published: Path) -> None:
    trace = read_flame_traces(published, iteration=110)

    check(trace, 110)
    assert (trace.model, trace.revision) == ("flame-moe-290m", "iteration 110")
    assert (trace.n_tokens, trace.notes) == (N_TOKENS, ())


def test_published_rows_in_the_order_of_the_hooks_are_noticed(tmp_path: Path) -> None:
    write_published(tmp_path / "model", iterations=(110,), is_aligned=False)

    trace = read_flame_traces(tmp_path / "model")

    check(trace, 110)
    assert len(trace.notes) == 1
    assert "micro-batches of 2 sequences" in trace.notes[0]


@pytest.mark.parametrize("inside", ["", "actives", "actives/iter_0220"])
def test_a_model_its_actives_or_an_iteration_can_be_named(published: Path, inside: str) -> None:
    trace = read_flame_traces(published / inside, max_tokens=100)

    assert (trace.model, trace.revision) == ("flame-moe-290m", "iteration 220")
    assert (trace.tokens.token_id >= 0).all()


@pytest.mark.parametrize("inside", ["actives/flame-moe-290m/31066", "actives/flame-moe-290m"])
def test_the_folder_of_a_job_can_be_named(captures: Path, inside: str) -> None:
    assert read_flame_traces(captures / inside, 110, 100).revision == "iteration 110"


@pytest.mark.parametrize("kind", ["captures", "published"])
def test_whole_sequences_are_read_up_to_the_limit(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    every = read_flame_traces(folder, max_tokens=None)

    trace = read_flame_traces(folder, max_tokens=2 * SEQUENCE + 500)
    short = read_flame_traces(folder, max_tokens=500)

    assert (trace.n_tokens, short.n_tokens) == (2 * SEQUENCE, 500)
    assert trace.notes == ("The first 4,096 of 8,192 tokens.",)
    assert (trace.layers[0].experts == every.layers[0].experts[: 2 * SEQUENCE]).all()
    assert (short.tokens.token_id == every.tokens.token_id[:500]).all()


def test_a_limit_beyond_the_largest_micro_batch_is_kept_too(tmp_path: Path) -> None:
    write_published(tmp_path, iterations=(110,), micro_batch=8, calls=5)

    trace = read_flame_traces(tmp_path, max_tokens=33 * SEQUENCE + 1)

    assert trace.n_tokens == 33 * SEQUENCE


def test_two_iterations_are_compared_and_mass_is_known_without_a_model(published: Path) -> None:
    last, early = read_flame_traces(published), read_flame_traces(published, 110)

    found = study(last, early)

    group = found.layers[0].groups[0]
    assert found.against == "flame-moe-290m at iteration 110"
    assert group.mass is not None
    assert [row.k for row in group.mass] == [1, 2, 3, 4, 5, 6]
    assert group.mass[-1].retained.mean == 1
    assert group.saturation is not None
    assert [row.k for row in group.saturation] == [1, 2, 4, 6]
    # The routers of this test have nothing in common but their sizes.
    assert abs(group.saturation[3].overlap - K / EXPERTS) < 0.1
    assert group.margins is not None
    assert len(group.margins) == 5  # the 7th expert was not published


def test_without_samples_the_tokens_are_unknown(published: Path, tmp_path: Path) -> None:
    shutil.copytree(published / "actives", tmp_path / "actives")

    trace = read_flame_traces(tmp_path)

    assert set(trace.tokens.token_id.tolist()) == {-1}
    assert "token ids are unknown" in trace.notes[0]


def test_progress_counts_the_layers(published: Path) -> None:
    calls: list[object] = []

    class Recorder:
        def counting(self, what: str, total: int, unit: str) -> None:
            calls.append((what, total, unit))

        def advance(self, n: int = 1) -> None:
            calls.append(n)

    read_flame_traces(published, max_tokens=10, progress=Recorder())

    assert calls == [("reading the traces of iteration 220", 2, "layers"), 1, 1]


def test_an_iteration_that_is_not_there_is_an_error(published: Path, captures: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"no iteration 5\. It has 110, 220\."):
        read_flame_traces(published, 5)
    with pytest.raises(InvalidArgumentError, match=r"no iteration 5\. It has 110, 220\."):
        read_flame_traces(captures, 5)
    with pytest.raises(InvalidArgumentError, match="holds iteration 220, not 5"):
        read_flame_traces(published / "actives" / "iter_0220", 5)
    with pytest.raises(InvalidArgumentError, match=r"max_tokens=0 is not possible\. Use 1"):
        read_flame_traces(published, max_tokens=0)


def test_a_folder_of_something_else_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no traces of FLAME-MoE. Name a folder with"):
        read_flame_traces(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        read_flame_traces(tmp_path / "missing")


@pytest.fixture
def broken_captures(captures: Path, tmp_path: Path) -> Path:
    shutil.copytree(captures, tmp_path / "copy")
    return tmp_path / "copy"


def last_layer(root: Path) -> Path:
    return root / "actives" / "flame-moe-290m" / "31066" / "220" / "3" / "1-0.pt"


class Attack:
    """Runs a command when a pickle of it is loaded without care."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch attacked",)


def test_a_pickle_that_runs_commands_is_refused(
    broken_captures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(broken_captures)
    torch.save(Attack(), last_layer(broken_captures))

    with pytest.raises(DataError, match=r"1-0.pt cannot be read: .*Copy the file again"):
        read_flame_traces(broken_captures)

    assert not (broken_captures / "attacked").exists()


@pytest.mark.parametrize(
    ("saved", "expected"),
    [
        (torch.zeros(5, 6, 2), "no pair of scores and indices"),
        ((torch.zeros(8, 6), torch.zeros(8, 5)), r"scores of \(8, 6\) with indices of \(8, 5\)"),
        (
            (torch.full((8, 6), 0.1), torch.arange(6).expand(8, 6)),
            "4,104 tokens where another file of the traces has 8,192",
        ),
        (
            (torch.full((3000, 6), 0.1), torch.arange(6).expand(3000, 6)),
            "3000 tokens are no whole sequences of 2048",
        ),
    ],
)
def test_captures_of_another_form_are_an_error(
    saved: object, expected: str, broken_captures: Path
) -> None:
    torch.save(saved, last_layer(broken_captures))

    with pytest.raises(DataError, match=expected):
        read_flame_traces(broken_captures)


def test_captures_that_are_cut_off_or_missing_are_an_error(broken_captures: Path) -> None:
    path = last_layer(broken_captures)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"1-0.pt cannot be read"):
        read_flame_traces(broken_captures)
    path.unlink()
    with pytest.raises(DataError, match=r"There is no .*1-0.pt. Copy the files of all layers"):
        read_flame_traces(broken_captures)
    (path.parent / "notes.pt").touch()
    (path.parent.parent / "2" / "notes.pt").touch()
    with pytest.raises(DataError, match=r"its name is not CALL-RANK.pt"):
        read_flame_traces(broken_captures)


@pytest.fixture
def broken(published: Path, tmp_path: Path) -> Path:
    shutil.copytree(published, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"indices": [[1, 2]]}, "it has no column scores, only indices"),
        ({"indices": [[1, 2], [1]], "scores": [[0.5, 0.1]] * 2}, "its tokens have 1 to 2 experts"),
        ({"indices": [[1, 2], None], "scores": [[0.5, 0.1]] * 2}, "a token has no experts"),
        ({"indices": [[1, 2]], "scores": [[0.5]]}, "no experts, or different numbers of them"),
        ({"indices": [[1, 64]], "scores": [[0.5, 0.1]]}, "has 1 tokens where another file"),
    ],
)
def test_published_files_of_another_form_are_an_error(
    columns: dict[str, list[object]], expected: str, broken: Path
) -> None:
    path = broken / "actives" / "iter_0220" / "layer_03.parquet"
    parquet.write_table(pa.table(columns), path)

    with pytest.raises(DataError, match=expected):
        read_flame_traces(broken)


def test_published_files_that_are_cut_off_are_an_error(broken: Path) -> None:
    path = broken / "samples" / "001.parquet"
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(DataError, match=r"001.parquet cannot be read: .*Download the file again"):
        read_flame_traces(broken)

    path.unlink()
    with pytest.raises(DataError, match="has 4,096 tokens where another file of the traces has 8"):
        read_flame_traces(broken)
