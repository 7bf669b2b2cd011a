"""A model that is not ours is timed task by task around its own methods, and stays as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from lm_eval.api.instance import Instance as TextInstance
from lmms_eval.api.instance import GenerationResult, Instance

from moe_eval_plugin.hosts.foreign_models import METHODS, PADDING, ForeignModelTimer
from moe_eval_plugin.results.files import failure_in
from moe_eval_plugin.testing import ManualClock

if TYPE_CHECKING:
    from pathlib import Path


def request(task: str, doc_id: int, **metadata: object) -> Instance:
    return Instance(
        request_type="generate_until",
        arguments=(f"{task} {doc_id}",),
        idx=0,
        metadata={"task": task, "doc_id": doc_id, "repeats": 1, **metadata},
    )


def requests(tasks: str) -> list[Instance]:
    """Make a request for each letter, of the task that it names."""
    return [request(task, number) for number, task in enumerate(tasks)]


class Model:
    """Answers in its own order, as models of the host do; a request takes 2 s, a call 1 s."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.calls: list[list[str]] = []

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Answer with the question."""
        self.calls.append([one.args[0] for one in requests])
        self._clock.advance(1.0 + 2.0 * len(requests))
        answers = {id(one): f"answer to {one.args[0]}" for one in reversed(requests)}
        return [answers[id(one)] for one in requests]

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Answer round by round, by way of the other method."""
        self._clock.advance(10.0)
        return self.generate_until(requests)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Fail, as a model without this ability does."""
        self._clock.advance(3.0 * len(requests))
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:  # noqa: FBT002
        """Score whole texts, as lm-eval's models do; with a progress bar half as fast."""
        self._clock.advance((1.0 if disable_tqdm else 2.0) * len(requests))
        return [-1.0] * len(requests)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def model(clock: ManualClock) -> Model:
    return Model(clock)


def speeds(timer: ForeignModelTimer) -> dict[str, tuple[int, float]]:
    records = timer.records()
    return {task: (one.speed.n_samples, one.speed.wall_s) for task, one in records.items()}


def test_each_task_gets_its_own_time_and_the_answers_their_places(
    model: Model, clock: ManualClock
) -> None:
    asked = requests("abacb")
    with ForeignModelTimer(model, clock) as timer:
        answers = model.generate_until(asked)
    assert answers == [f"answer to {one.args[0]}" for one in asked]
    assert model.calls == [["a 0", "a 2"], ["b 1", "b 4"], ["c 3"]]
    assert speeds(timer) == {"a": (2, 5.0), "b": (2, 5.0), "c": (1, 3.0)}
    assert timer.records()["a"].speed.samples_per_s == 2 / 5


def test_one_task_stays_one_call(model: Model, clock: ManualClock) -> None:
    with ForeignModelTimer(model, clock) as timer:
        model.generate_until(requests("aaaa"))
    assert len(model.calls) == 1
    assert speeds(timer) == {"a": (4, 9.0)}


def test_time_between_calls_does_not_count_and_calls_add_up(
    model: Model, clock: ManualClock
) -> None:
    with ForeignModelTimer(model, clock) as timer:
        clock.advance(100.0)
        model.generate_until(requests("a"))
        clock.advance(100.0)
        model.generate_until(requests("ab"))
    assert speeds(timer) == {"a": (2, 6.0), "b": (1, 3.0)}


def test_several_requests_of_a_question_are_one_sample(model: Model, clock: ManualClock) -> None:
    asked = [request("a", number) for number in (0, 1, 0, 1, 0)]
    with ForeignModelTimer(model, clock) as timer:
        assert len(model.generate_until(asked)) == 5
    assert speeds(timer) == {"a": (2, 11.0)}


def test_padding_is_answered_but_not_counted(model: Model, clock: ManualClock) -> None:
    asked = [request("a", 0), request("a", 1), request("a", 1, **{PADDING: True})]
    with ForeignModelTimer(model, clock) as timer:
        answers = model.generate_until(asked)
    assert len(answers) == 3
    assert speeds(timer) == {"a": (2, 7.0)}


def test_a_method_that_calls_another_one_is_not_counted_twice(
    model: Model, clock: ManualClock
) -> None:
    with ForeignModelTimer(model, clock) as timer:
        model.generate_until_multi_round(requests("ab"))
        model.generate_until(requests("a"))
    assert speeds(timer) == {"a": (2, 13.0 + 3.0), "b": (1, 13.0)}


def test_requests_of_lm_eval_are_questions_by_their_document(
    model: Model, clock: ManualClock
) -> None:
    made = [
        TextInstance("loglikelihood_rolling", {}, ("text",), 0, metadata=("a", doc_id, 1))
        for doc_id in (0, 0, 1)
    ]
    with ForeignModelTimer(model, clock) as timer:
        assert model.loglikelihood_rolling(made, disable_tqdm=True) == [-1.0] * 3
    assert speeds(timer) == {"a": (2, 3.0)}
    assert "n_failed_requests" not in timer.records()["a"].rows()


def test_nothing_to_answer_makes_no_call_and_no_record(model: Model, clock: ManualClock) -> None:
    with ForeignModelTimer(model, clock) as timer:
        assert model.generate_until([]) == []
    assert (model.calls, timer.records()) == ([], {})


def test_a_model_that_loses_an_answer_is_an_error(model: Model, clock: ManualClock) -> None:
    def loses(requests: list[Instance]) -> list[str]:
        return ["one"] * (len(requests) - 1)

    model.generate_until = loses  # type: ignore[method-assign]
    with ForeignModelTimer(model, clock), pytest.raises(ValueError, match="zip"):
        model.generate_until(requests("aa"))


def test_methods_are_as_before_after_a_run_and_after_an_error(
    model: Model, clock: ManualClock
) -> None:
    before = {name: getattr(model, name) for name in METHODS}
    with ForeignModelTimer(model, clock) as timer:
        assert {getattr(model, name) == before[name] for name in METHODS} == {False}
        assert {getattr(model, name).__name__ for name in METHODS} == set(METHODS)
        with pytest.raises(NotImplementedError):
            model.loglikelihood(requests("a"))
        model.generate_until(requests("b"))
    assert speeds(timer) == {"b": (1, 3.0)}
    assert {name: getattr(model, name) for name in METHODS} == before
    with pytest.raises(NotImplementedError), ForeignModelTimer(model, clock):
        model.loglikelihood(requests("a"))
    assert not set(METHODS) & set(vars(model))


def test_an_own_method_of_the_object_is_put_back(model: Model, clock: ManualClock) -> None:
    def own(requests: list[Instance]) -> list[str]:
        return [""] * len(requests)

    model.generate_until = own  # type: ignore[method-assign]
    with ForeignModelTimer(model, clock):
        model.generate_until(requests("a"))
    assert vars(model)["generate_until"] is own


class Slotted:
    """An object whose attributes cannot be replaced."""

    __slots__ = ()

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Answer nothing."""
        return [""] * len(requests)


class Attribute:
    """Has something else under the name of a method."""

    generate_until = "no method"


@pytest.mark.parametrize("stranger", [Slotted(), Attribute(), object()])
def test_a_stranger_is_left_alone(stranger: Any) -> None:
    with ForeignModelTimer(stranger) as timer:
        if isinstance(stranger, Slotted):
            assert stranger.generate_until(requests("ab")) == ["", ""]
    assert timer.records() == {}


def test_what_cannot_be_seen_from_outside_is_not_claimed(model: Model, clock: ManualClock) -> None:
    with ForeignModelTimer(model, clock) as timer:
        model.generate_until(requests("aa"))
    record = timer.records()["a"]
    known = {name: value for name, value in record.rows().items() if value is not None}
    assert known == {"samples_per_s": 2 / 5}
    stored = json.loads(json.dumps(record.to_dict()))
    assert stored["experts"] is None
    assert {name for name, value in stored["speed"].items() if value is not None} == {
        "n_samples",
        "wall_s",
        "samples_per_s",
    }
    assert stored["provenance"]["timed"] == "from outside"
    assert (stored["provenance"]["model_class"], stored["provenance"]["n_ranks"]) == ("Model", 1)
    assert stored["provenance"]["versions"]["lmms-eval"]


TWO_PROCESSES = """
import json, sys
from types import SimpleNamespace
import torch.distributed
from moe_eval_plugin.hosts.foreign_models import ForeignModelTimer
from moe_eval_plugin.testing import ManualClock

rank, store, tasks = int(sys.argv[1]), sys.argv[2], sys.argv[3].split("/")
torch.distributed.init_process_group(
    "gloo", init_method=f"file://{store}", rank=rank, world_size=2
)
clock = ManualClock()

calls = []

def answer(requests):
    calls.append(len(requests))
    clock.advance(1.0 + 2.0 * len(requests))
    return [""] * len(requests)

model = SimpleNamespace(generate_until=answer)
asked = [
    SimpleNamespace(task_name=task, doc_id=i, metadata={}) for i, task in enumerate(tasks[rank])
]
with ForeignModelTimer(model, clock) as timer:
    model.generate_until(asked)
records = timer.records()
found = {task: [one.speed.n_samples, one.speed.wall_s] for task, one in records.items()}
print(json.dumps([found, [one.provenance["n_ranks"] for one in records.values()], calls]))
torch.distributed.destroy_process_group()
"""


def in_two_processes(tasks: str, tmp_path: Path) -> list[Any]:
    """Return what both processes found, which must be the same but for the calls."""
    command = [sys.executable, "-c", TWO_PROCESSES]
    running = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store"), tasks],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    done = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], done
    return [json.loads(out.splitlines()[-1]) for out, _ in done]


def test_over_two_processes_samples_add_up_and_the_slowest_decides(tmp_path: Path) -> None:
    first, second = in_two_processes("aaa/a", tmp_path)
    assert first == [{"a": [4, 7.0]}, [2], [3]]
    assert second == [{"a": [4, 7.0]}, [2], [1]]


def test_several_tasks_on_two_processes_stay_one_call_and_have_no_time(tmp_path: Path) -> None:
    first, second = in_two_processes("aaab/abbc", tmp_path)
    assert first == second == [{}, [], [4]]


def test_failed_requests_are_counted_by_question_and_warned_of(
    model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[object] = [
        "red",
        "[LMMS_EVAL_REQUEST_FAILED after 3 retries] no connection",
        GenerationResult("[LMMS_EVAL_BUDGET_EXCEEDED]"),
        ["red", "[SAFETY_BLOCKED:unknown]"],
        "[LMMS_EVAL_BUDGET_EXCEEDED]",
    ]
    model.generate_until = lambda _: answers  # type: ignore[assignment,method-assign,return-value]
    asked = [*requests("aaaa"), request("a", 4, **{PADDING: True})]
    with ForeignModelTimer(model, failure_in=failure_in) as timer:
        assert model.generate_until(asked) == answers
    record = timer.records()["a"]
    assert record.rows()["n_failed_requests"] == 3
    assert "a: 3 of 4 answers are no answers but messages" in caplog.text


def test_a_model_without_failures_has_no_such_row(model: Model) -> None:
    with ForeignModelTimer(model) as timer:
        model.generate_until(requests("a"))
    assert "n_failed_requests" not in timer.records()["a"].rows()
