"""Test whether two runs are equal within a margin, and how many questions that takes.

A difference that is not significant does not show that there is none. Two one-sided tests do:
runs are equal within a margin if the 90% interval of their difference lies inside it (Schuirmann
1987, doi:10.1007/BF01068419).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.stats.paired import EQUIVALENCE_CONFIDENCE

if TYPE_CHECKING:
    from moe_eval_plugin.stats.paired import PairedDifference
    from moe_eval_plugin.stats.resampling import Interval

Verdict = Literal["yes", "no", "cannot tell"]
YES: Verdict = "yes"
NO: Verdict = "no"
CANNOT_TELL: Verdict = "cannot tell"
POWER = 0.8


@dataclass(frozen=True)
class Equivalence:
    """Whether a run is within a margin of the baseline."""

    margin: float
    """Largest difference that counts as equal, in the unit of the scores."""
    verdict: Verdict
    """Whether the difference is within the margin."""
    interval: Interval
    """Interval of the difference that decides."""
    n_questions: int
    """Number of questions compared."""
    n_questions_needed: int | None
    """Questions needed to find ``yes`` with 80% probability if there is no true difference."""
    n_questions_needed_as_observed: int | None
    """The same if the true difference is the observed one; ``None`` if that is the margin or more.
    """

    @property
    def loses_at_most(self) -> bool:
        """Whether it is shown that no more than the margin is lost: a one-sided test at 5%."""
        return self.interval.low > -self.margin

    @property
    def loses_more(self) -> bool:
        """Whether it is shown that more than the margin is lost: a one-sided test at 5%."""
        return self.interval.high <= -self.margin

    @property
    def n_questions_to_tell(self) -> int | None:
        """About how many questions would tell; ``None`` where as many were asked, or not known.

        It is the number for no true difference, or else that for the observed one.
        """
        known = (self.n_questions_needed, self.n_questions_needed_as_observed)
        return next((n for n in known if n is not None and n > self.n_questions), None)


def equivalence(difference: PairedDifference, margin: float) -> Equivalence:
    """Return whether a run is within a margin of the baseline, above or below (TOST).

    ``margin`` is in the unit of the scores: 0.01 is one point of 100. Raises
    ``InvalidArgumentError`` for a margin that is not above 0.
    """
    _check(margin)
    interval = difference.equivalence_interval
    if -margin < interval.low and interval.high < margin:
        verdict = YES
    elif interval.high <= -margin or margin <= interval.low:
        verdict = NO
    else:
        verdict = CANNOT_TELL
    n, error = difference.n_questions, difference.standard_error
    return Equivalence(
        margin,
        verdict,
        interval,
        n,
        questions_needed(error, n, margin),
        questions_needed(error, n, margin, true_difference=difference.difference),
    )


def questions_needed(
    standard_error: float,
    n_questions: int,
    margin: float,
    *,
    true_difference: float = 0.0,
    power: float = POWER,
) -> int | None:
    """Return how many questions two one-sided tests at 5% need to show that runs are equal.

    ``power`` is the probability that they show it. The standard error was observed with
    ``n_questions``, clusters included, and shrinks with the root of their number. ``None`` for a
    true difference outside the margin, which no number of questions will change.

    Raises ``InvalidArgumentError`` for a margin that is not above 0.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    _check(margin)
    share = abs(true_difference) / margin
    if share >= 1:
        return None
    z = norm.ppf((1 + EQUIVALENCE_CONFIDENCE) / 2)

    def surplus(reach: float) -> float:
        sides = norm.cdf([reach * (1 - share) - z, reach * (1 + share) - z])
        return float(sides.sum() - 1 - power)

    # With this reach each of the two tests fails with half of the allowed probability.
    enough = (z + norm.ppf((1 + power) / 2)) / (1 - share)
    reach = float(brentq(surplus, 0, enough * (1 + 1e-9)))
    return math.ceil(n_questions * (standard_error * reach / margin) ** 2)


def _check(margin: float) -> None:
    if not 0 < margin < math.inf:
        message = f"A margin of {margin} is not possible. Use one above 0: 0.01 is one point."
        raise InvalidArgumentError(message)
