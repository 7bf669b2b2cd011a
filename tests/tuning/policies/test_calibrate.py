"""The hook that calibrates policies: who answers, and what is refused."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import InvalidArgumentError, PluginLoadError
from moe_eval_plugin.plugins import Policy, PolicyCalibration, PolicyParameter, hookimpl
from moe_eval_plugin.plugins.manager import ENTRY_POINT_GROUP, build_manager
from moe_eval_plugin.testing import tiny_moe
from moe_eval_plugin.tuning.policies.calibrate import calibrate_policy, check_calibrated
from moe_eval_plugin.tuning.prompts.request import CalibrationRequest
from moe_eval_plugin.tuning.study.checks import check_config
from moe_eval_plugin.tuning.study.request import TuneRequest
from tests.tuning.passes.calibrations import loaded

from .synthetic import WeightTable

if TYPE_CHECKING:
    from collections.abc import Callable

    import pluggy

OWN = ("calibrations", "moe_eval_plugin.tuning.policies")
POLICIES = ("policies", "moe_eval_plugin.override.policies")
ABOVE = Policy(
    name="above",
    summary="keep the experts whose weight is at least a number",
    parameters=(PolicyParameter("number", "the smallest weight to keep"),),
    keep=lambda choice, number: choice.weights >= number,
)


@pytest.fixture
def manager_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., pluggy.PluginManager]:
    """Return a function that builds a manager with plugins that answer as they are told."""

    def build(*answers: object) -> pluggy.PluginManager:
        entries = [EntryPoint(*one, ENTRY_POINT_GROUP) for one in (OWN, POLICIES)]
        for number, answer in enumerate(answers):
            module = ModuleType(f"third_{number}")
            monkeypatch.setitem(sys.modules, module.__name__, module)

            @hookimpl
            def moe_eval_calibrate_policy(
                calibration: PolicyCalibration, answer: object = answer
            ) -> object:
                return answer(calibration) if callable(answer) else answer

            module.moe_eval_calibrate_policy = moe_eval_calibrate_policy  # type: ignore[attr-defined]
            if number == 0:
                module.moe_eval_register_policies = hookimpl(lambda: [ABOVE])  # type: ignore[attr-defined]
            entries.append(EntryPoint(f"third{number}", module.__name__, ENTRY_POINT_GROUP))
        return build_manager(entries)

    return build


def test_the_plugin_of_a_policy_chooses_its_parameters(
    manager_with: Callable[..., pluggy.PluginManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = WeightTable()
    monkeypatch.setattr("tests.tuning.policies.synthetic.find_policy", lambda _: ABOVE)

    def choose(calibration: PolicyCalibration) -> list[float]:
        assert calibration.n_prompts == 4
        measured = {n: calibration.measure([n]) for n in (0.01, 0.2, 0.5)}
        allowed = [n for n, one in measured.items() if one.mean_k <= calibration.target_k]
        return [min(allowed, key=lambda n: measured[n].loss)]

    parameters = calibrate_policy("above", table.calibration("above", 0.4), manager_with(choose))
    assert parameters == (0.2,)


@pytest.mark.parametrize(
    ("answers", "error", "message"),
    [
        ([None], InvalidArgumentError, "No plugin calibrates the policy above. Give its numbers"),
        ([[0.5], [0.5]], PluginLoadError, r"third0 \(third_0\) and third1 \(third_1\)"),
        (["half"], PluginLoadError, r"third0 .* returned 'half' .* it is not a list of numbers"),
        ([["half"]], PluginLoadError, "it is not a list of numbers"),
        ([[2.0]], PluginLoadError, "NUMBER=2 is not above 0 and at most 1. A policy is written"),
        ([[0.1, 0.2]], PluginLoadError, "it has 2 of 1 parameters"),
        ([[(0.1, 0.2)]], InvalidArgumentError, "has 2 numbers joined by /, and the model has 3"),
        ([[0.001]], PluginLoadError, "chose above:0.001, with which tokens use 7.* allows 4"),
    ],
)
def test_what_a_plugin_may_not_return(
    manager_with: Callable[..., pluggy.PluginManager],
    monkeypatch: pytest.MonkeyPatch,
    answers: list[object],
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.setattr("tests.tuning.policies.synthetic.find_policy", lambda _: ABOVE)
    with pytest.raises(error, match=message):
        calibrate_policy("above", WeightTable().calibration("above"), manager_with(*answers))


def test_unknown_policies_and_targets_are_refused_first() -> None:
    table = WeightTable()
    with pytest.raises(InvalidArgumentError, match="experts_policy=above is not known"):
        calibrate_policy("above", table.calibration("above"))
    with pytest.raises(InvalidArgumentError, match=r"use only 0.1 of 8 experts"):
        calibrate_policy("top_p", table.calibration("top_p", 0.1))
    assert table.tried == []


def test_a_fault_of_a_plugin_is_not_hidden(
    manager_with: Callable[..., pluggy.PluginManager],
) -> None:
    def fail(_: PolicyCalibration) -> list[float]:
        message = "no such number"
        raise LookupError(message)

    with pytest.raises(LookupError, match="no such number"):
        calibrate_policy("above", WeightTable().calibration("above"), manager_with(fail))


def test_a_policy_that_no_plugin_calibrates_is_refused_before_anything_is_measured(
    manager_with: Callable[..., pluggy.PluginManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure_first(calibration: PolicyCalibration) -> list[float]:
        try:
            calibration.measure([0.2])
        except Exception:  # noqa: BLE001  (as a plugin may that tries other numbers)
            pytest.fail("a plugin sees the end of the trial as a fault of its numbers")
        return [0.2]

    def fail(_: PolicyCalibration) -> list[float]:
        raise LookupError

    for answer in (measure_first, fail, [0.2]):
        check_calibrated("above", (0, 1), 8, manager_with(answer))
    check_calibrated("modes", (0, 1), 8)
    with pytest.raises(PluginLoadError, match="is calibrated twice"):
        check_calibrated("above", (0, 1), 8, manager_with([0.2], [0.2]))
    calibrated_by_none = manager_with(None)
    monkeypatch.setattr(
        "moe_eval_plugin.plugins.manager.plugin_manager", lambda: calibrated_by_none
    )
    request = TuneRequest(CalibrationRequest("tiny", ("easy_vqa",)), policies=("top_p", "above"))
    with pytest.raises(InvalidArgumentError, match="No plugin calibrates the policy above"):
        check_config(request, loaded(tiny_moe()).config)
