from __future__ import annotations

import pytest

from moe_eval_plugin.hosts.replacement import replaced


class Owner:
    """Has an attribute of its class, and one of its own."""

    inherited = 1

    def __init__(self) -> None:
        self.own = 2


def fail(owner: Owner) -> None:
    assert (owner.own, owner.inherited, Owner.inherited) == (3, 4, 1)
    raise KeyError


def test_attributes_are_restored_also_after_an_error() -> None:
    owner = Owner()
    with pytest.raises(KeyError), replaced(owner, "own", 3), replaced(owner, "inherited", 4):
        fail(owner)
    assert vars(owner) == {"own": 2}
    assert owner.inherited == 1
