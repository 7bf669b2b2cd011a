"""The table of families as it is shown."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.models.families import table
from moe_eval_plugin.models.inspection import families_table
from moe_eval_plugin.plugins.family import Family, Proof
from tests.docs.extensions import extension

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


@pytest.fixture
def directives(repository_root: Path) -> ModuleType:
    return extension("families_table", repository_root)


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
    text = directives.table_text([new], directives.COLUMNS)
    assert "| `brand_new` | not tried | not known | `num_experts_per_tok` |" in text
    assert directives.details_text([new]) == "- `brand_new`: **be careful**; it is new."


def test_documented_tables_have_each_of_our_families_once(
    directives: ModuleType, repository_root: Path
) -> None:
    own = directives.own_families()
    page = (repository_root / "docs" / "reference" / "families.md").read_text("utf-8")

    assert set(own) <= set(table().values())
    assert all(sum(group(family) for group in directives.GROUPS.values()) == 1 for family in own)
    groups = re.findall(r"```\{families-table\} (\w+)\n```", page)
    assert groups == [*directives.GROUPS]
    assert "```{families-details}" in page
