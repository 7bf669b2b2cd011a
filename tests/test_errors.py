"""The tree of errors, as the documentation shows it."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from moe_eval_plugin import errors

DEFINED_ELSEWHERE = (
    "moe_eval_plugin.experts.trace",
    "moe_eval_plugin.experts.verification",
    "moe_eval_plugin.publish.exports.answers",
)
ROW = re.compile(r"^    ([│ ├└─]*)(\w+Error)", re.MULTILINE)


def rows_below(parent: type[Exception], depth: int = 0) -> set[tuple[int, str, str]]:
    """Return (depth, parent, name) of each error of this package below one."""
    own = [cls for cls in parent.__subclasses__() if cls.__module__.startswith("moe_eval_plugin.")]
    direct = {(depth + 1, parent.__name__, cls.__name__) for cls in own}
    return direct.union(*(rows_below(cls, depth + 1) for cls in own))


def test_the_documented_tree_is_that_of_the_classes() -> None:
    for module in DEFINED_ELSEWHERE:
        import_module(module)
    documented, parents = set(), {}
    for branch, name in ROW.findall(errors.__doc__ or ""):
        depth = len(branch) // 4
        parents[depth] = name
        if depth:
            documented.add((depth, parents[depth - 1], name))
    assert documented == rows_below(errors.MoEEvalError)


@pytest.mark.parametrize(("error", "code"), [(errors.UserError, 2), (errors.OverrideError, 3)])
def test_what_a_user_can_correct_ends_with_another_code(
    error: type[errors.MoEEvalError], code: int
) -> None:
    assert error("message").exit_code == code
