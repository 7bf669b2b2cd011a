"""A plan is checked before anything runs."""

from __future__ import annotations

import pytest

from moe_eval_plugin.bench.plan import BenchPlan, BenchSetting, ImagePlan
from moe_eval_plugin.errors import InvalidArgumentError, InvalidExpertCountError
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.testing import tiny_config


def test_batch_sizes_grow_so_that_a_series_can_end() -> None:
    plan = BenchPlan(experts_k=(8, 1), batch_sizes=(16, 1, 4))
    assert plan.batch_sizes == (1, 4, 16)
    assert [str(point) for point in plan.settings()][:2] == ["k=8, batch 1", "k=8, batch 4"]
    assert plan.n_steps == 6 * (1 + 1 + 3)


def test_a_model_as_it_is_has_no_k_in_its_points() -> None:
    assert str(BenchSetting(None, 4)) == "batch 4"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"experts_k": ()}, "experts_k=nothing"),
        ({"experts_k": (8, 8)}, "experts_k=8 8"),
        ({"batch_sizes": (0, 1)}, "batch_sizes=0 1"),
        ({"prompt_tokens": 0}, "prompt_tokens=0 is not possible. Use 1 or more"),
        ({"new_tokens": 1}, "new_tokens=1 is not possible. Use 2 or more"),
        ({"repeats": 2}, "repeats=2 is not possible. Use 3 or more"),
    ],
)
def test_what_cannot_be_measured_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        BenchPlan(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [{"n_images": -1}, {"size": (448, 15)}, {"n_images": 2, "files": ("a.png",)}],
)
def test_images_that_cannot_be_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError):
        ImagePlan(**changes)  # type: ignore[arg-type]


def test_each_file_is_shown_once() -> None:
    assert ImagePlan(files=("a.png", "b.png")).count == 2
    assert ImagePlan(n_images=3).count == 3


def test_a_plan_without_any_k_compares_the_published_k_and_its_halves() -> None:
    description = describe(tiny_config())
    assert BenchPlan().for_model(description).experts_k == (4, 2, 1)
    assert BenchPlan(experts_k=(3,)).for_model(description).experts_k == (3,)
    assert BenchPlan().for_model(describe(tiny_config("qwen3"))).experts_k == (None,)


def test_a_k_that_the_model_cannot_use_is_refused() -> None:
    with pytest.raises(InvalidExpertCountError, match="experts_k=99"):
        BenchPlan(experts_k=(99,)).for_model(describe(tiny_config()))
