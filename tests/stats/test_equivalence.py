from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.stats import equivalence
from moe_eval_plugin.stats.equivalence import Equivalence, questions_needed
from moe_eval_plugin.stats.paired import paired_difference
from moe_eval_plugin.stats.resampling import Interval
from tests.stats.drawn_scores import QUICK


@pytest.mark.parametrize(
    ("loss", "n", "verdict"),
    [(0.0, 4000, "yes"), (0.1, 4000, "no"), (0.011, 4000, "cannot tell"), (0.0, 40, "cannot tell")],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_equivalence_has_three_answers(loss: float, n: int, verdict: str, sign: int) -> None:
    base = np.full(n, 0.5)
    changes = np.random.default_rng(0).choice([-0.3, 0.3], n)
    own = base + changes - changes.mean() + sign * loss

    found = equivalence(paired_difference(own, base), 0.01)

    assert found.verdict == verdict
    assert found.n_questions == n
    assert (found.n_questions_needed_as_observed is None) == (loss >= 0.01)


def test_a_narrow_margin_takes_more_questions_by_its_square() -> None:
    wide, narrow = (questions_needed(0.01, 1000, margin) for margin in (0.02, 0.01))

    assert wide is not None
    assert narrow is not None
    assert narrow == pytest.approx(4 * wide, rel=0.01)


def test_the_number_of_questions_is_that_of_the_textbook_without_a_difference() -> None:
    # n = variance * (z(0.95) + z(0.9))^2 / margin^2, for 80% power with both tests.
    normal = statistics.NormalDist()
    expected = 0.2 * (normal.inv_cdf(0.95) + normal.inv_cdf(0.9)) ** 2 / 0.01**2

    assert questions_needed(math.sqrt(0.2 / 500), 500, 0.01) == math.ceil(expected)


def test_a_difference_within_the_margin_takes_more_and_one_outside_has_no_number() -> None:
    none, half, outside = (
        questions_needed(0.01, 1000, 0.01, true_difference=d) for d in (0.0, -0.005, 0.01)
    )

    assert none is not None
    assert half is not None
    assert half > 2 * none
    assert outside is None


@pytest.mark.parametrize("margin", [0.0, -0.01, float("nan"), float("inf")])
def test_a_margin_must_be_above_0(margin: float) -> None:
    difference = paired_difference([1.0], [1.0], bootstrap=QUICK)
    with pytest.raises(InvalidArgumentError, match="margin"):
        equivalence(difference, margin)
    with pytest.raises(InvalidArgumentError, match="margin"):
        questions_needed(0.01, 100, margin)


def test_a_loss_is_judged_on_its_own_side_of_the_margin() -> None:
    base = np.full(400, 0.5)
    changes = np.random.default_rng(0).choice([-0.3, 0.3], 400)

    def found(loss: float) -> tuple[bool, bool]:
        own = base + changes - changes.mean() - loss
        test = equivalence(paired_difference(own, base), 0.03)
        return test.loses_at_most, test.loses_more

    assert [found(loss) for loss in (0.0, -0.2, 0.03, 0.1)] == [
        (True, False),
        (True, False),
        (False, False),
        (False, True),
    ]


def test_a_number_of_questions_that_were_asked_already_is_not_named() -> None:
    interval = Interval(-0.02, 0.0, 0.9)

    def test(n: int, needed: int, as_observed: int | None) -> int | None:
        return Equivalence(
            0.01, "cannot tell", interval, n, needed, as_observed
        ).n_questions_to_tell

    assert test(300, 934, None) == 934
    assert test(1000, 934, 5000) == 5000
    assert test(1000, 934, None) is None
