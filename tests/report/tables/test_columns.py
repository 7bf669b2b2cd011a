from __future__ import annotations

from moe_eval_plugin.report.tables.columns import COLUMNS


def test_column_names_are_all_different() -> None:
    names = [column.key for column in COLUMNS]

    assert len(set(names)) == len(names)


def test_small_p_values_are_not_shown_as_zero() -> None:
    column = next(one for one in COLUMNS if one.key == "p_value")

    assert column.text(0.00001) == "<0.001"
    assert column.text(0.25) == "0.250"
    assert column.text(None) == "-"
