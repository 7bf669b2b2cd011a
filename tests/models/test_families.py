"""The experts of a model, as read from its configuration alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any, get_args

import pluggy
import pytest
from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig

from moe_eval_plugin.architectures.register import register
from moe_eval_plugin.errors import InvalidExpertCountError, NotAnMoEError, PluginLoadError
from moe_eval_plugin.experts.schedules.schedule import constant_schedule
from moe_eval_plugin.models import families
from moe_eval_plugin.models.families import describe, family_of, moe_eval_register_families, table
from moe_eval_plugin.plugins.family import Family, Kind, Renormalisation

# The table has it, and transformers lacks it.
register()

OWN = moe_eval_register_families()
BY_THE_HAND = {"MoE++"}  # code that comes with the checkpoint, no class of transformers


@pytest.mark.parametrize(
    ("model_type", "changes", "experts", "k", "shared", "renormalises"),
    [
        ("qwen3_moe", {"norm_topk_prob": True}, 128, 8, 0, True),
        ("qwen3_moe", {"norm_topk_prob": False, "num_experts": 8}, 8, 8, 0, False),
        ("qwen2_moe", {"shared_expert_intermediate_size": 16}, 60, 4, 1, False),
        ("mixtral", {"num_local_experts": 16}, 16, 2, 0, True),
        ("deepseek", {}, 64, 6, 2, False),
        ("deepseek_v2", {"n_routed_experts": 16, "num_experts_per_tok": 4}, 16, 4, 2, False),
        ("gpt_oss", {"num_local_experts": 32}, 32, 4, 0, True),
        ("jamba", {}, 16, 2, 0, False),
        ("cohere2_moe", {}, 8, 2, 0, True),
        (
            "cohere2_moe",
            {"expert_selection_fn": "sigmoid", "norm_topk_prob": False},
            8,
            2,
            0,
            False,
        ),
        ("ernie4_5_moe", {"moe_k": 3}, 64, 3, 2, True),
        ("kimi_linear", {"moe_renormalize": False}, 256, 8, 1, False),
        ("llama4_text", {}, 16, 1, 1, False),
        ("inkling_text", {}, 256, 6, 2, None),
        ("step3p5", {}, 288, 8, 1, True),
        ("hunyuan_v1_moe", {"num_experts": 8, "moe_topk": [2, 3, 2]}, 8, 3, 1, True),
    ],
)
def test_moe_configurations(
    model_type: str,
    changes: dict[str, Any],
    experts: int,
    k: int,
    shared: int,
    renormalises: bool | None,
) -> None:
    found = describe(AutoConfig.for_model(model_type, **changes))
    assert found.is_moe
    assert (found.num_experts, found.num_experts_per_tok) == (experts, k)
    assert found.num_shared_experts == shared
    assert found.norm_topk_prob is renormalises


def test_the_text_part_of_a_composite_configuration_is_read() -> None:
    text = {"num_experts": 16, "num_experts_per_tok": 3}
    found = describe(AutoConfig.for_model("qwen3_vl_moe", text_config=text))
    assert (found.model_type, found.num_experts, found.num_experts_per_tok) == (
        "qwen3_vl_moe",
        16,
        3,
    )


def test_k_in_another_part_of_the_configuration_is_found() -> None:
    found = describe(
        AutoConfig.for_model("dbrx", ffn_config={"moe_num_experts": 8, "moe_top_k": 3})
    )
    assert (found.num_experts, found.num_experts_per_tok) == (8, 3)


@pytest.mark.parametrize("model_type", ["qwen3", "llama", "qwen3_vl"])
def test_a_dense_configuration_is_described_as_dense(model_type: str) -> None:
    found = describe(AutoConfig.for_model(model_type))
    assert not found.is_moe
    assert found.num_experts == 0


@pytest.mark.parametrize("model_type", ["phimoe", "zaya", "switch_transformers", "nllb-moe"])
def test_families_with_a_fixed_k_carry_the_reason(model_type: str) -> None:
    assert describe(AutoConfig.for_model(model_type)).fixed_k_reason


def described_as(family: Family) -> PretrainedConfig:
    """Build a configuration whose k is 3 of 12, set under the keys that the table names."""
    config = CONFIG_MAPPING[family.model_type]()
    part: Any = config
    for name in family.config_part.split(".") if family.config_part else ():
        part = getattr(part, name)
    keys = {family.k_key: 3, family.num_experts_key: 12, family.enabled_key: True}
    for key, value in keys.items():
        if key is not None:
            assert hasattr(part, key), f"{type(part).__name__} has no {key}"
            setattr(part, key, value)
    for key in (family.shared_experts_key, family.zero_experts_key, *family.dense_layer_keys):
        assert key is None or hasattr(part, key), f"{type(part).__name__} has no {key}"
    return config


@pytest.mark.parametrize("family", OWN, ids=lambda family: family.model_type)
def test_keys_of_the_table_are_those_of_the_real_configuration(family: Family) -> None:
    if family.model_type not in CONFIG_MAPPING:
        assert family.model_type in BY_THE_HAND
        pytest.skip("the installed transformers has no such family")
    found = describe(described_as(family))
    assert found.family == family.model_type
    assert found.num_experts == 12
    assert found.num_experts_per_tok == (family.num_experts_per_tok_in_code or 3)
    assert found.fixed_k_reason == family.fixed_k_reason
    assert found.warnings == family.warnings


def test_words_of_the_table_are_among_those_allowed() -> None:
    assert {family.kind for family in OWN} <= set(get_args(Kind))
    assert {family.renormalise for family in OWN} <= set(get_args(Renormalisation))
    assert all(family.scoring for family in OWN)


def test_table_holds_every_family_once() -> None:
    assert len(OWN) == len({family.model_type for family in OWN})
    assert {family.model_type for family in OWN} <= set(table())


def test_a_text_part_and_another_name_lead_to_the_family() -> None:
    found = family_of(["qwen3_5_moe_text"]), family_of(["inkling_text"]), family_of(["llama"])
    assert [family.model_type if family else None for family in found] == [
        "qwen3_5_moe",
        "inkling_mm_model",
        None,
    ]


@pytest.mark.parametrize("wrapper", ["internvl", "llava", "mistral3"])
def test_a_wrapper_is_known_by_its_text_part(wrapper: str) -> None:
    text = {"model_type": "qwen3_moe", "num_experts": 16, "num_experts_per_tok": 3}
    found = describe(AutoConfig.for_model(wrapper, text_config=text))
    assert (found.model_type, found.family) == (wrapper, "qwen3_moe")
    assert (found.num_experts, found.num_experts_per_tok) == (16, 3)


def test_the_talker_is_never_described() -> None:
    config = AutoConfig.for_model("qwen3_omni_moe")
    config.talker_config.text_config.num_experts_per_tok = 5
    assert describe(config).num_experts_per_tok == 8


def test_experts_of_the_image_tower_are_not_taken_for_the_language_models() -> None:
    config = AutoConfig.for_model("dots3_note")
    config.text_config.n_routed_experts = 0
    assert describe(config.vision_config).is_moe
    assert not describe(config).is_moe


@pytest.mark.parametrize(
    ("model_type", "changes", "most"),
    [
        ("deepseek_v3", {"n_routed_experts": 32, "n_group": 8, "topk_group": 2}, 8),
        ("deepseek_v3", {"n_routed_experts": 32, "n_group": 1, "topk_group": 1}, 32),
        ("bailing_hybrid", {"num_experts": 32, "num_expert_group": 8, "topk_group": 2}, 8),
        ("deepseek_v2", {"n_group": 8, "topk_group": 2, "topk_method": "greedy"}, 64),
        ("deepseek_v2", {"n_group": 8, "topk_group": 2, "topk_method": "group_limited_greedy"}, 16),
        ("qwen3_moe", {"n_group": 8, "topk_group": 2}, 128),
        ("longcat_flash", {}, 512),
    ],
)
def test_k_is_limited_to_the_experts_that_a_token_reaches(
    model_type: str, changes: dict[str, Any], most: int
) -> None:
    config = AutoConfig.for_model(model_type, **{"num_experts_per_tok": 2, **changes})
    assert describe(config).max_num_experts_per_tok == most


def test_groups_of_an_unknown_family_limit_k() -> None:
    config = PretrainedConfig(num_experts=32, num_experts_per_tok=4, n_group=8, topk_group=2)
    assert describe(config).max_num_experts_per_tok == 8


def test_experts_that_compute_nothing_are_counted_apart() -> None:
    found = describe(AutoConfig.for_model("longcat_flash"))
    assert (found.num_experts, found.num_zero_experts) == (512, 256)
    assert found.warnings


def test_a_list_with_the_experts_of_each_layer_limits_k_to_the_smallest() -> None:
    config = PretrainedConfig(num_experts=[0, 8, 16], num_experts_per_tok=[1, 4, 2])
    found = describe(config)
    assert (found.num_experts, found.num_experts_per_tok) == (16, 4)
    assert found.max_num_experts_per_tok == 8


@pytest.mark.parametrize(("power", "renormalises"), [(1.0, True), (2.0, None), (None, False)])
def test_dbrx_divides_by_the_sum_for_the_first_power_only(
    power: float | None, renormalises: bool | None
) -> None:
    part = {"moe_num_experts": 8, "moe_top_k": 3, "moe_normalize_expert_weights": power}
    assert describe(AutoConfig.for_model("dbrx", ffn_config=part)).norm_topk_prob is renormalises


@pytest.mark.parametrize(
    ("model_type", "key"), [("gemma4_text", "enable_moe_block"), ("doge", "is_moe")]
)
def test_experts_that_are_switched_off_are_none(model_type: str, key: str) -> None:
    counts = {"num_experts": 8, "top_k_experts": 2, "num_experts_per_tok": 2}
    for is_on in (True, False):
        assert describe(AutoConfig.for_model(model_type, **counts, **{key: is_on})).is_moe is is_on


def test_k_that_is_a_constant_of_the_code_wins() -> None:
    assert describe(AutoConfig.for_model("phimoe", num_experts_per_tok=6)).num_experts_per_tok == 2
    assert describe(AutoConfig.for_model("switch_transformers")).num_experts_per_tok == 1


def test_zero_computation_experts_of_remote_code() -> None:
    class RemoteConfig(PretrainedConfig):  # type: ignore[misc]
        model_type = "MoE++"

    found = describe(RemoteConfig(num_experts=[32]))
    assert (found.num_experts, found.num_zero_experts, found.num_experts_per_tok) == (28, 4, 2)
    assert (found.min_num_experts_per_tok, found.max_num_experts_per_tok) == (1, 28)
    assert found.zero_expert_kinds == ("constant", "constant", "copy", "zero")


def test_experts_that_compute_nothing_have_a_kind_each_or_none() -> None:
    config = AutoConfig.for_model("longcat_flash", zero_expert_num=3)
    assert describe(config).zero_expert_kinds == ("copy",) * 3
    assert Family(model_type="own", zero_expert_kinds=("copy", "zero")).kinds_of(3) == ()
    assert describe(AutoConfig.for_model("mixtral")).zero_expert_kinds == ()


def test_the_smallest_k_has_its_reason_and_the_experts_are_those_to_choose_among() -> None:
    sizes = {"n_routed_experts": 8, "zero_expert_num": 4, "moe_topk": 3}
    found = replace(
        describe(AutoConfig.for_model("longcat_flash", **sizes)),
        min_num_experts_per_tok=2,
        min_num_experts_per_tok_reason="one expert fails",
    )
    with pytest.raises(InvalidExpertCountError) as failed:
        constant_schedule(1).resolve(found)
    said = str(failed.value)
    assert "longcat_flash has 12 experts per layer, of which 8 compute (3 used as pub" in said
    assert "too few, because one expert fails. Use 2 to 8." in said


def test_a_smallest_k_above_one_has_a_reason() -> None:
    for family in families.table().values():
        is_limited = family.min_num_experts_per_tok > 1
        assert is_limited == (family.min_num_experts_per_tok_reason is not None), family.model_type


class OwnConfig(PretrainedConfig):  # type: ignore[misc]
    """The configuration of a model that no table has."""

    model_type = "own"


@pytest.mark.parametrize("k", [9, 0, -1, "4", 4.0, True, [0, 0], [4, 9], [4, None], [], {"a": 1}])
def test_a_k_that_the_experts_do_not_allow_is_refused(k: object) -> None:
    config = OwnConfig(n_routed_experts=8, num_experts_per_tok=k)
    with pytest.raises(InvalidExpertCountError, match=r"states num_experts_per_tok=.*1 to 8, as"):
        describe(config)


@pytest.mark.parametrize("k", [1, 8, [4, 8], [0, 2]])
def test_a_k_that_the_experts_allow_is_read(k: object) -> None:
    config = OwnConfig(n_routed_experts=8, num_experts_per_tok=k)
    assert describe(config).num_experts_per_tok == (max(k) if isinstance(k, list) else k)


@pytest.mark.parametrize("given", [{}, {"num_experts_per_tok": None}])
def test_experts_without_a_k_are_not_called_a_dense_model(given: dict[str, None]) -> None:
    found = describe(OwnConfig(n_routed_experts=8, **given))
    assert (found.is_moe, found.unknown_k_of) == (False, 8)
    with pytest.raises(NotAnMoEError, match="states 8 experts, and under no known name"):
        constant_schedule(2).resolve(found)
    assert describe(OwnConfig(num_experts_per_tok=2)).unknown_k_of == 0


@pytest.mark.parametrize("model_type", ["musicgen", "dots3_note_vision_encoder", "vitpose"])
def test_unusual_configurations_are_described(model_type: str) -> None:
    found = describe(AutoConfig.for_model(model_type))
    assert found.max_num_experts_per_tok <= found.num_experts


def test_old_metadata_is_an_error_and_not_an_empty_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "plugin_manager", lambda: pluggy.PluginManager("moe_eval"))
    with pytest.raises(PluginLoadError, match="Install it again"):
        families._by_name.__wrapped__()


def test_the_table_needs_no_torch() -> None:
    program = (
        "import sys; from moe_eval_plugin.models.families import table; table(); "
        "print([m for m in ('torch', 'transformers', 'lmms_eval') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
