"""FLOPs and bytes from sizes: against PyTorch's own count on real models, and by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PretrainedConfig

from moe_eval_plugin.models.architecture import read_architecture
from moe_eval_plugin.models.costs.cost_model import AttentionShape, LanguageModelCost, RoutedLayer
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.models.parameters import count_built
from moe_eval_plugin.models.releases.names import CACHE
from tests.models.tiny_configs import deepseek_v2, qwen3_moe, qwen3_vl_moe

if TYPE_CHECKING:
    from collections.abc import Callable

# Some releases of transformers make rotary angles by a small product of matrices; we leave it out.
TOLERANCE = 0.002
N = 16

SMALL = LanguageModelCost(
    matrix_parameters=1000,
    head_parameters=200,
    routed_layers=(RoutedLayer(8, 100), RoutedLayer(8, 100)),
    attentions=(AttentionShape(32, 32, 16),),
)


def built(config: PretrainedConfig, k: int) -> Any:
    text = config.get_text_config()
    text.num_experts_per_tok = k
    is_vlm = config.model_type == "qwen3_vl_moe"
    auto = AutoModelForImageTextToText if is_vlm else AutoModelForCausalLM
    model: Any = auto.from_config(
        config, attn_implementation="eager", experts_implementation="eager"
    )
    return model.eval()


def cost_of(model: Any) -> LanguageModelCost:
    cost = read_architecture(model, count_built(model, describe(model.config)).layers).cost
    assert cost is not None
    return cost


@torch.no_grad()
def counted(model: Any, ids: torch.Tensor, **cache: Any) -> tuple[int, dict[str, Any]]:
    with FlopCounterMode(display=False) as counter:
        output = model(input_ids=ids, logits_to_keep=1, use_cache=True, **cache)
    # An output answers for the old name of its cache too, and lists the present one alone.
    return counter.get_total_flops(), {name: output[name] for name in output if name in CACHE}


def tokens() -> torch.Tensor:
    return torch.randint(10, 60, (1, N), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize("make", [qwen3_moe, deepseek_v2, qwen3_vl_moe])
def test_flops_of_a_prompt_are_those_that_pytorch_counts(
    make: Callable[[], PretrainedConfig], k: int
) -> None:
    model = built(make(), k)
    flops = cost_of(model).prefill_flops(k, N)
    # Eager attention works out the half above the diagonal too, to hide it.
    whole_square = flops.attention * 2 * N / (N + 1)
    expected, _ = counted(model, tokens())
    assert N * (flops.total - flops.attention + whole_square) == pytest.approx(
        expected, rel=TOLERANCE
    )


@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize("make", [qwen3_moe, qwen3_vl_moe])
def test_flops_of_a_new_token_are_those_that_pytorch_counts(
    make: Callable[[], PretrainedConfig], k: int
) -> None:
    model = built(make(), k)
    _, cache = counted(model, tokens()[:, :-1])
    expected, _ = counted(model, tokens()[:, -1:], **cache)
    assert cost_of(model).decode_flops(k, N).total == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.parametrize("make", [qwen3_moe, deepseek_v2])
def test_cache_holds_the_numbers_that_transformers_keeps(
    make: Callable[[], PretrainedConfig],
) -> None:
    model = built(make(), 2)
    if make is deepseek_v2 and not hasattr(model.model.layers[0].self_attn, "expand_kv"):
        pytest.skip("this transformers keeps the expanded keys and values of latent attention")
    (cache,) = counted(model, tokens())[1].values()
    kept = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
    assert cost_of(model).cached_numbers(N) == kept


def test_tied_output_head_counts_as_a_matrix() -> None:
    tied, apart = (cost_of(built(qwen3_moe(tie_word_embeddings=flag), 2)) for flag in (True, False))
    assert tied == apart
    assert tied.head_parameters == 64 * 32


def test_sliding_window_limits_what_is_attended_to_and_kept() -> None:
    shape = AttentionShape(32, 32, 16, window=3)
    assert [shape.attended(i) for i in (1, 2, 3, 4, 5)] == [1, 2, 3, 3, 3]
    assert shape.mean_attended(5) == (1 + 2 + 3 + 3 + 3) / 5
    assert LanguageModelCost(0, 0, (), (shape,)).cached_numbers(5) == 3 * 16


def test_head_runs_once_for_a_prompt_and_at_each_step_of_decoding() -> None:
    assert SMALL.prefill_flops(4, 10).head == 2 * 200 / 10
    assert SMALL.decode_flops(4, 10).head == 2 * 200


def test_ceiling_of_prefill_is_amdahls_law_over_the_routed_share() -> None:
    at_baseline = SMALL.prefill_flops(4, 10)
    assert at_baseline.routed_flop_share == pytest.approx(1600 / at_baseline.total)
    for k in (1, 2, 4):
        expected = at_baseline.total / SMALL.prefill_flops(k, 10).total
        assert SMALL.prefill_ceiling(k, 4, 10) == pytest.approx(expected)
    assert SMALL.prefill_ceiling(4, 4, 10) == 1


def test_bytes_of_a_step_lie_between_shared_experts_and_none_shared() -> None:
    rest = 1000 + 200 + 3 * 16 * 10
    assert SMALL.decode_range(2, 3, 10) == (rest + 2 * 2 * 100, rest + 2 * 6 * 100)
    assert SMALL.decode_range(4, 3, 10)[1] == rest + 2 * 8 * 100


def test_ceiling_of_decode_for_one_sequence_is_the_ratio_of_what_is_read() -> None:
    (least, most), (at_k, _) = SMALL.decode_range(4, 1, 10), SMALL.decode_range(1, 1, 10)
    assert least == most
    assert SMALL.decode_ceiling(1, 4, 1, 10) == pytest.approx(least / at_k)


def test_measured_distinct_experts_lower_the_ceiling_of_decode() -> None:
    loose = SMALL.decode_ceiling(2, 4, 8, 10)
    measured = SMALL.decode_ceiling(2, 4, 8, 10, distinct_experts=[5.0, 4.5])
    total = 1000 + 200 + 8 * 160 + 950
    assert 1 < measured < loose
    assert measured == pytest.approx(total / (total - 950 / 2))


@pytest.mark.parametrize("batch_size", [1, 2, 8, 64])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_ceiling_of_decode_is_not_below_what_independent_routing_gives(
    k: int, batch_size: int
) -> None:
    def numbers(k: int) -> float:
        distinct = 8 * (1 - (1 - k / 8) ** batch_size)
        return SMALL.decode_numbers(batch_size, 10, [distinct, distinct])

    assert SMALL.decode_ceiling(k, 4, batch_size, 10) >= numbers(4) / numbers(k) - 1e-9
