from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from moe_eval_plugin.report.charts.base import Figure


vl_convert = pytest.importorskip("vl_convert", reason="the extra report is not installed")


def values(figure: Figure) -> list[dict[str, Any]]:
    """Return all rows that a chart holds; Altair puts equal ones together."""
    return [row for rows in figure.chart.to_dict()["datasets"].values() for row in rows]
