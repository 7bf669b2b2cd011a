"""A layout has all tokens of all prompts, and computes as few as it can for each of them."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.engines.transformers.shared.layout import Layout, lay_out, n_common

IDS = st.integers(1, 3)
GROUPS = st.lists(
    st.tuples(
        st.lists(IDS, min_size=1, max_size=5),
        st.lists(st.lists(IDS, min_size=1, max_size=5), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=4,
)


def made(groups: list[tuple[list[int], list[list[int]]]]) -> tuple[list[list[int]], Layout]:
    """Lay out groups of a common beginning and the ends of their prompts."""
    prompts = [[begin + end for end in ends] for begin, ends in groups]
    firsts = [group[0] for group in prompts]
    width = max(map(len, firsts))
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in firsts])
    layout = lay_out(prompts, [len(begin) for begin, _ in groups], mask)
    return [ids for group in prompts for ids in group], layout


def tokens(layout: Layout) -> list[list[int]]:
    pairs = zip(layout.input_ids, layout.attention_mask, strict=True)
    return [ids[mask.bool()].tolist() for ids, mask in pairs]


@given(GROUPS)
def test_every_prompt_has_its_own_tokens(
    groups: list[tuple[list[int], list[list[int]]]],
) -> None:
    prompts, layout = made(groups)
    assert tokens(layout) == prompts
    for number, group in enumerate(layout.rows.tolist()):
        prefix = layout.prefix_ids[group][layout.prefix_mask[group].bool()].tolist()
        assert len(groups[group][0]) <= len(prefix) < len(prompts[number])
        assert prompts[number][: len(prefix)] == prefix
    # A pad adds no token to those of a prompt.
    for ids, prompt in zip(layout.input_ids.tolist(), prompts, strict=True):
        assert set(ids) == set(prompt)


@given(GROUPS, st.integers(1, 5))
def test_parts_have_each_prompt_once_and_no_more_padding_than_they_need(
    groups: list[tuple[list[int], list[list[int]]]], size: int
) -> None:
    prompts, layout = made(groups)
    seen = []
    for chosen, part in layout.parts(size):
        assert len(chosen) <= size
        assert tokens(part) == [prompts[number] for number in chosen]
        lengths = part.attention_mask[:, part.n_prefix :].sum(-1)
        assert part.input_ids.shape[1] - part.n_prefix == max(2, int(lengths.max()))
        seen += chosen
    assert sorted(seen) == list(range(len(prompts)))


def test_columns_say_where_the_prefix_of_a_padded_prompt_is() -> None:
    _, layout = made([([1, 2, 3], [[4, 5], [6, 7]]), ([1], [[2, 3], [3, 2]])])
    assert layout.prefix_mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert layout.prefix_columns.tolist() == [[0, 1, 2], [2, 2, 2]]
    assert layout.next_columns.tolist() == [3, 3]


def test_a_group_of_one_is_divided_where_the_others_need_it() -> None:
    _, layout = made([([1, 2], [[3, 1, 1], [2, 1, 1]]), ([1], [[2, 3, 3, 3]])])
    assert layout.prefix_mask.tolist() == [[1, 1], [1, 1]]


def test_a_pass_over_suffixes_never_looks_like_one_of_decode() -> None:
    _, layout = made([([1, 2], [[3], [2]])])
    assert layout.input_ids.shape[1] == layout.n_prefix + 2


def test_common_elements_end_at_the_first_difference() -> None:
    assert n_common([[1, 2, 3], [1, 2, 4, 5], [1, 2]]) == 2
    assert n_common([[1], [2]]) == 0
