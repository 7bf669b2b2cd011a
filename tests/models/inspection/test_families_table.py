"""The table of families as it is shown."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.models.families import table
from moe_eval_plugin.models.inspection import families_table
from moe_eval_plugin.plugins.family import Family, Proof

if TYPE_CHECKING:
    from types import ModuleType

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def directives() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "families_table", DOCS / "_ext" / "families_table.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_family_has_a_row_and_a_page_of_its_own() -> None:
    shown = families_table.families()
    assert {row[0] for row in families_table.rows(shown)} == set(table())
    for family in shown:
        assert family.model_type in families_table.render(family)
        assert json.loads(json.dumps(families_table.to_dict(family)))["proof"] == family.proof


def test_each_proof_is_explained_below_the_table() -> None:
    text = families_table.render_all(families_table.families(), wide=True)
    below = text.partition("\nproof:\n")[2]
    assert [line.split("  ")[1] for line in below.splitlines()[: len(Proof)]] == [*Proof]


def test_refused_family_shows_the_reason_and_no_proof() -> None:
    (row,) = families_table.rows([Family(model_type="set", fixed_k_reason="it is so")])
    assert row[-2:] == ("-", "no: it is so")


def test_path_to_k_is_shown_from_the_root() -> None:
    shown = {row[0]: row[2] for row in families_table.rows(families_table.families())}
    assert shown["qwen3_omni_moe"] == "thinker_config.text_config.num_experts_per_tok"
    assert shown["dbrx"] == "ffn_config.moe_top_k"
    assert shown["MoE++"] == "fixed at 2 in code"


def test_a_family_is_found_by_another_name() -> None:
    assert families_table.find("inkling_text").model_type == "inkling_mm_model"


def test_unknown_name_is_refused_with_what_to_do() -> None:
    with pytest.raises(InvalidArgumentError, match="moe-eval families"):
        families_table.find("nothing-like-it")


def test_documented_table_is_made_from_the_data(directives: ModuleType) -> None:
    new = Family(model_type="brand_new", warnings=("be careful",), notes=("it is new",))
    assert "| `brand_new` | text | `num_experts_per_tok` |" in directives.table_text([new])
    assert directives.details_text([new]) == "- `brand_new`: **be careful**; it is new."
    page = (DOCS / "reference" / "families.md").read_text("utf-8")
    assert "```{families-table}" in page
    assert "```{families-details}" in page


def test_documented_table_has_our_families_only(directives: ModuleType) -> None:
    assert set(directives._own_families()) <= set(table().values())
