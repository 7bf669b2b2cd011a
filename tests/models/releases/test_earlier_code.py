"""Names that transformers 5 removed are there while code that states transformers 4 is imported."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch

from moe_eval_plugin.models.releases.earlier_code import MASKS, causal_mask, earlier_names

NAMES = [
    ("transformers.utils", "is_torch_fx_available"),
    ("transformers.utils.import_utils", "is_torch_fx_available"),
    ("transformers.processing_utils", "_validate_images_text_input_order"),
    ("transformers.models.gpt2.tokenization_gpt2", "bytes_to_unicode"),
    (MASKS, "_prepare_4d_causal_attention_mask"),
]


def has(module: str, name: str) -> bool:
    try:
        return hasattr(import_module(module), name)
    except ImportError:
        return False


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_removed_name_is_there_for_earlier_code_alone(module: str, name: str) -> None:
    before = has(module, name)
    with earlier_names("4.50.3"):
        assert has(module, name)
    assert has(module, name) == before
    with earlier_names("5.2.0"):
        assert has(module, name) == before


def test_the_names_are_removed_where_the_code_fails() -> None:
    before = [has(*name) for name in NAMES]
    with pytest.raises(ZeroDivisionError), earlier_names("4.50.3"):
        _ = 1 / 0
    assert [has(*name) for name in NAMES] == before


def test_a_mask_hides_later_tokens_and_padding() -> None:
    """Two rows of two new tokens after one in the cache; the second row begins with padding."""
    padding = torch.tensor([[1, 1, 1], [0, 1, 1]])
    mask = causal_mask(padding, (2, 2), torch.zeros(2, 2, 4), 1)
    assert mask.shape == (2, 1, 2, 3)
    assert (mask == 0).int()[:, 0].tolist() == [[[1, 1, 0], [1, 1, 1]], [[0, 1, 0], [0, 1, 1]]]
    assert mask.min() == torch.finfo(torch.float32).min
    assert (causal_mask(None, (1, 2), torch.zeros(1, 2, 4), 0) == 0).int()[0, 0].tolist() == [
        [1, 0],
        [1, 1],
    ]


def test_a_sliding_window_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="sliding window of 4"):
        causal_mask(None, (1, 2), torch.zeros(1, 2, 4), 0, 4)
