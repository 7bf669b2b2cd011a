from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.override.k_search import find_k_locations
from tests.families.contract import CASES, model_of

if TYPE_CHECKING:
    from moe_eval_plugin.override.k_location import KLocation

BY_ID = {case.id: case for case in CASES}


def accepted(case_id: str) -> list[KLocation]:
    return [p for p in find_k_locations(model_of(BY_ID[case_id])) if p.decision.accepted]
