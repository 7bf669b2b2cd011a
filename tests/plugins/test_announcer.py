"""Plugins hear of a run in order, add rows to it, and cost it nothing when they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy
import pytest

from moe_eval_plugin.hosts.run_recorder import RunRecorder, announce_end
from moe_eval_plugin.plugins import BatchEnd, Metric, RunEnd, RunStart, hookimpl, hookspecs
from moe_eval_plugin.plugins.announcer import (
    BATCH_END,
    EXTRA_METRICS,
    HOOKS,
    RUN_END,
    RUN_START,
    Announcer,
)
from moe_eval_plugin.plugins.hookspecs import PROJECT
from moe_eval_plugin.results.measurements import make_records
from tests.results.sample_records import batch, experts, record

if TYPE_CHECKING:
    from collections.abc import Callable

START = RunStart({}, {"a": 2, "b": 1}, {}, rank=0)
BATCH = BatchEnd(batch("a", 2), n_done=2, n_requests=3, rank=0)
END = RunEnd({"a": record("a"), "b": record("b")}, rank=0)
EVENT_TYPES = dict(zip(HOOKS, ("RunStart", "BatchEnd", "RunEnd", "RunEnd"), strict=True))


def plugin(**hooks: Callable[..., Any]) -> Any:
    """Make a plugin of functions; their names are those of hooks, without the prefix."""
    functions = {f"moe_eval_{name}": staticmethod(hookimpl(do)) for name, do in hooks.items()}
    return type("Plugin", (), functions)()


def announcer(**plugins: object) -> Announcer:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    for name, one in plugins.items():
        manager.register(one, name=name)
    return Announcer(manager)


def listener(heard: list[tuple[str, Any]]) -> object:
    """Make a plugin that notes each event, and has no rows."""

    def note(hook: str) -> Callable[..., None]:
        def hear(event: object) -> None:
            heard.append((hook, event))

        return hear

    return plugin(**{hook.removeprefix("moe_eval_"): note(hook) for hook in HOOKS})


def fails(event: object) -> None:
    message = f"no such server: {type(event).__name__}"
    raise OSError(message)


def extra(returned: object) -> Announcer:
    """Make an announcer of one plugin that returns these rows."""

    def give(event: object) -> object:  # noqa: ARG001  (the name is pluggy's)
        return returned

    return announcer(guest=plugin(extra_metrics=give))


def test_a_run_is_told_from_start_to_end() -> None:
    heard: list[tuple[str, Any]] = []
    announce = announcer(listener=listener(heard))
    recorder = RunRecorder(announce, rank=1, hardware=None)
    verified, provenance = {"a": experts(), "b": experts()}, {"pretrained": "demo"}
    recorder.start(["a", "b", "a"], verified, provenance)
    first, second = batch("a", 2), batch("b", 1)
    recorder.batch_end(first, first.n_samples)
    recorder.batch_end(second, second.n_samples)
    records = make_records([recorder.measurements()], verified, provenance)
    announce_end(announce, records, rank=1)

    assert [hook for hook, _ in heard] == [RUN_START, BATCH_END, BATCH_END, RUN_END, EXTRA_METRICS]
    start, one, other, end, asked = (event for _, event in heard)
    assert (start.provenance, start.experts, start.rank) == (provenance, verified, 1)
    assert dict(start.n_requests) == {"a": 2, "b": 1}
    assert (one.timing, one.n_done, one.n_requests, one.rank) == (first, 2, 3, 1)
    assert (other.timing, other.n_done, other.n_requests) == (second, 3, 3)
    assert (end.records, end.rank) == (records, 1)
    assert asked == end


def test_what_a_plugin_keeps_of_the_start_does_not_change_later() -> None:
    heard: list[tuple[str, Any]] = []
    recorder = RunRecorder(announcer(listener=listener(heard)), rank=0, hardware=None)
    recorder.start(["a", "a"], {}, {})
    recorder.batch_end(batch("a", 2), 2)
    assert heard[0][1].n_requests == {"a": 2}


def test_the_clock_is_only_stopped_for_those_who_listen() -> None:
    nobody = RunRecorder(announcer(), rank=0, hardware=None)
    somebody = RunRecorder(announcer(one=listener([])), rank=0, hardware=None)
    for recorder in (nobody, somebody):
        recorder.start(["a"], {}, {})
    assert nobody.batch_end(batch("a", 1), 1) is False
    assert somebody.batch_end(batch("a", 1), 1) is True


def test_the_one_that_wants_to_be_first_is_called_first() -> None:
    order: list[str] = []

    class First:
        @hookimpl(tryfirst=True)
        def moe_eval_run_end(self) -> None:
            order.append("first")

    def second(event: object) -> None:  # noqa: ARG001
        order.append("second")

    announcer(first=First(), second=plugin(run_end=second)).run_end(END)
    assert order == ["first", "second"]


@pytest.mark.parametrize(("hook", "event_type"), EVENT_TYPES.items())
def test_a_plugin_that_fails_is_dropped_for_the_rest_of_the_run_and_named(
    hook: str, event_type: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[tuple[str, Any]] = []
    broken = listener(heard)
    setattr(broken, hook, hookimpl(fails))
    others: list[tuple[str, Any]] = []
    announce = announcer(before=listener(others), broken=broken, after=listener(others))
    for _ in range(2):
        announce.run_start(START)
        announce.batch_end(BATCH)
        announce.run_end(END)
        announce.extra_metrics(END)
    assert [name for name, _ in heard] == list(HOOKS[: HOOKS.index(hook)])
    assert len(others) == 2 * 2 * len(HOOKS)
    assert announce.failures == [
        f"The plugin broken failed in {hook}: OSError: no such server: {event_type}"
    ]
    assert "It is not called again in this run." in caplog.text


def test_the_results_name_the_plugins_that_failed() -> None:
    announce = announcer(broken=plugin(run_end=fails))
    records = announce_end(announce, {"a": record("a")}, rank=0)
    (failure,) = records["a"].provenance["plugin_failures"]
    assert failure.startswith("The plugin broken failed in moe_eval_run_end")
    assert records["a"].provenance["batch_size"] == 2
    whole = announce_end(announcer(), {"a": record("a")}, rank=0)
    assert whole["a"].provenance["plugin_failures"] == []


def test_an_interruption_is_not_swallowed() -> None:
    def interrupts(event: object) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        announcer(one=plugin(run_end=interrupts)).run_end(END)


ROWS = [Metric("a", "samples_per_hour", 2.5, higher_is_better=True), Metric("b", "watts", None)]


@pytest.mark.parametrize("returned", [ROWS, tuple(ROWS), (row for row in ROWS)])
def test_rows_come_in_any_form(returned: object) -> None:
    announce = extra(returned)
    assert announce.extra_metrics(END) == ROWS
    assert announce.failures == []


def test_a_generator_gives_rows_to_their_tasks() -> None:
    def rows(event: RunEnd) -> Any:
        for task in event.records:
            yield Metric(task, "watts", 20.0)

    announce = announcer(one=plugin(extra_metrics=rows))
    records = announce_end(announce, END.records, rank=0)
    assert records["a"].extra == (Metric("a", "watts", 20.0),)
    assert records["b"].rows()["watts"] == 20.0


@pytest.mark.parametrize("returned", [None, [], ()])
def test_no_rows_are_no_fault(returned: object) -> None:
    announce = extra(returned)
    assert announce.extra_metrics(END) == []
    assert announce.failures == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (Metric("c", "watts", 1.0), "watts of c is not a free name of a known task"),
        (Metric("a", "samples_per_s", 1.0), "samples_per_s of a is not a free name"),
        (Metric("a", "joules_per_sample", 1.0), "joules_per_sample of a is not a free name"),
        (Metric("b", "samples_per_hour", 3.0), "samples_per_hour of b is not a free name"),
        (Metric("a", "watts", float("nan")), "watts of a is nan: use a finite number or None"),
        (Metric("a", "watts", "many"), "watts of a is 'many'"),  # type: ignore[arg-type]
        (Metric("a", "watts", value=True), "watts of a is True"),
        (("a", "watts", 1.0), "('a', 'watts', 1.0) is not a Metric"),
        ("watts", "'watts' is not a Metric"),
    ],
)
def test_a_row_that_cannot_be_taken_costs_the_plugin_all_its_rows(row: Any, reason: str) -> None:
    twice = Metric("b", "samples_per_hour", 2.5)
    announce = extra([twice, row])
    assert announce.extra_metrics(END) == []
    (failure,) = announce.failures
    assert reason in failure


def test_one_metric_outside_of_a_list_is_a_fault_and_not_lost_in_silence() -> None:
    announce = extra(Metric("a", "watts", 1.0))
    assert announce.extra_metrics(END) == []
    assert "is not a list of Metric" in announce.failures[0]


def test_a_generator_that_breaks_off_gives_no_rows() -> None:
    def rows(event: RunEnd) -> Any:
        yield Metric("a", "watts", 1.0)
        fails(event)

    announce = announcer(one=plugin(extra_metrics=rows))
    assert announce.extra_metrics(END) == []
    assert "OSError" in announce.failures[0]


def test_two_plugins_cannot_have_the_same_row_and_a_refused_one_holds_no_name() -> None:
    def good(event: object) -> list[Metric]:  # noqa: ARG001
        return [Metric("a", "watts", 1.0)]

    def bad(event: object) -> list[Metric]:  # noqa: ARG001
        return [Metric("a", "watts", 2.0), Metric("nowhere", "watts", 2.0)]

    both = announcer(late=plugin(extra_metrics=good), early=plugin(extra_metrics=bad))
    assert both.extra_metrics(END) == [Metric("a", "watts", 1.0)]
    assert len(both.failures) == 1
    again = announcer(one=plugin(extra_metrics=good), two=plugin(extra_metrics=good))
    assert again.extra_metrics(END) == [Metric("a", "watts", 1.0)]
    assert "The plugin one failed" in again.failures[0]
