from __future__ import annotations

import pytest

for name in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(name, reason="the extra report is not installed")

from moe_eval_plugin.routing.page.layer_names import layer_names  # noqa: E402
from moe_eval_plugin.routing.page.parts import (  # noqa: E402
    UNKNOWN,
    interval_text,
    number_cell,
    percent,
    share_cell,
)
from moe_eval_plugin.routing.page.sections.load import experts_for_half  # noqa: E402
from moe_eval_plugin.routing.page.sections.modality import overlap  # noqa: E402
from moe_eval_plugin.routing.statistics.tables import Load  # noqa: E402
from moe_eval_plugin.stats.resampling import Interval  # noqa: E402


def load(*tokens: int) -> Load:
    return Load(tokens, None, None, (), None, None, None)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (0.004, "0.4%"), (0.0921, "9.2%"), (0.4567, "46%"), (0.9949, "99.5%"), (1, "100%")],
)
def test_shares_are_rounded_where_a_digit_says_nothing(share: float, text: str) -> None:
    assert percent(share) == text


def test_what_is_not_known_is_a_dash() -> None:
    assert share_cell(None).text == number_cell(None).text == UNKNOWN
    assert interval_text(None) == UNKNOWN
    assert interval_text(Interval(0.5, 0.625, 0.95)) == "50.0% to 62.5%"


def test_cells_are_shaded_up_to_the_top() -> None:
    assert [share_cell(share, 0.5).shade for share in (0.0, 0.25, 0.75)] == [0, 0.5, 1]
    assert share_cell(0.5).shade is None
    assert number_cell(0.0, top=0.0).shade == 0


def test_layers_have_the_parts_in_which_they_differ() -> None:
    assert layer_names(["model.layers.3.mlp", "model.layers.11.mlp"]) == ("3", "11")
    assert layer_names(["layer 2", "layer 3"]) == ("2", "3")
    assert layer_names(["model.layers.7.mlp"]) == ("7",)
    assert layer_names(["model.mlp"]) == ("model.mlp",)
    assert layer_names(["l.1.text", "l.1.vision", "l.2.text"]) == ("1 text", "1 vision", "2 text")


def test_fewest_experts_that_have_half_of_the_choices() -> None:
    assert experts_for_half(load(1, 9, 5, 5)) == 2
    assert experts_for_half(load(5, 5, 5, 5)) == 2
    assert experts_for_half(load(20, 0, 0, 0)) == 1


def test_shared_load_does_not_depend_on_the_number_of_tokens() -> None:
    assert overlap(load(1, 1, 0), load(30, 30, 0)) == pytest.approx(1)
    assert overlap(load(3, 0, 1), load(0, 5, 5)) == pytest.approx(0.25)
    assert overlap(load(0, 0), load(1, 1)) == 0
