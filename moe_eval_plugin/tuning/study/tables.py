"""The numbers of a study of tuning as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.text import csv_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.tuning.study.study import TuningStudy

SENSITIVITIES = ("layer", "modality", "phase", "k", "loss", "standard_error", "price")
FRONTIER = (
    *("target", "name", "experts_k", "price", "predicted_loss", "loss", "loss_standard_error"),
    *("uniform_k", "uniform_price", "uniform_loss", "uniform_loss_standard_error"),
    *("difference", "difference_standard_error", "verdict", "n_candidates"),
    *("share_of_resamples", "flops", "decode_bytes"),
)


def sensitivities_csv(study: TuningStudy) -> str:
    """Return the loss and the price of each cell at each k.

    A price is the share of the published model's that the cell has at this k.
    """
    prices = study.prices
    rows = (
        (
            *(cell.layer, cell.modality, cell.phase, k, loss.mean, loss.standard_error),
            prices.by_cell[cell, k] / prices.published,
        )
        for (cell, k), loss in study.sensitivities.losses.items()
    )
    return csv_text([SENSITIVITIES, *rows])


def frontier_csv(study: TuningStudy) -> str:
    """Return the schedule of each target, with its losses and those of the uniform k."""
    return csv_text([FRONTIER, *frontier_rows(study)])


def frontier_rows(study: TuningStudy) -> Iterator[tuple[object, ...]]:
    """Yield the values of ``FRONTIER`` of each target."""
    for point in study.points:
        uniform, difference = point.uniform_loss, point.difference
        yield (
            *(point.target, point.name, point.experts_k, point.price, point.predicted_loss),
            *(point.loss.mean, point.loss.standard_error, point.uniform_k, point.uniform_price),
            *((uniform.mean, uniform.standard_error) if uniform else (None, None)),
            *((difference.mean, difference.standard_error) if difference else (None, None)),
            *(point.verdict, point.n_candidates, point.share_of_resamples),
            *(point.flops, point.decode_bytes),
        )
