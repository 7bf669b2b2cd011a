from __future__ import annotations

from math import sqrt
from statistics import stdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.vqa import scores_by_type


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "how many", "is the"]),
            st.sampled_from(["", "number", "yes/no"]),
            st.fixed_dictionaries({"a": st.floats(0, 1), "b": st.floats(0, 1)}),
        )
    )
)
def test_scores_are_averaged_over_the_questions_of_each_type(items: list[Any]) -> None:
    averages = scores_by_type.average_by_type(items)
    for place, kind in enumerate(("question_types", "answer_types")):
        assert set(averages[kind]) == {item[place] for item in items} - {""}
        for name, average in averages[kind].items():
            scores = [item[2] for item in items if item[place] == name]
            assert average["n"] == len(scores)
            for metric in ("a", "b"):
                values = [score[metric] for score in scores]
                assert average[metric] == pytest.approx(sum(values) / len(values))
                error = stdev(values) / sqrt(len(values)) if len(values) > 1 else None
                assert average[f"{metric}_stderr"] == pytest.approx(error)
