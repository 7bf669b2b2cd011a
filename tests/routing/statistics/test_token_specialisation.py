"""Specialisation by token: shares as in FLAME-MoE, and a level of chance for the own share."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from moe_eval_plugin.routing.statistics.groups import question_codes
from moe_eval_plugin.routing.statistics.options import StudyOptions
from moe_eval_plugin.routing.statistics.token_specialisation import token_specialisation
from tests.routing.statistics import slow
from tests.routing.traces import NUM_EXPERTS, K, layer_of, random_logits, tokens_of

if TYPE_CHECKING:
    from moe_eval_plugin.routing.statistics.tables import TokenSpecialisation
    from moe_eval_plugin.routing.trace import LayerTrace, Tokens

N = 2000
OPTIONS = StudyOptions(min_count=20, min_questions=3)


def text_tokens(**columns: Any) -> Tokens:
    return tokens_of(N, modality=np.zeros(N), **columns)


def found_in(
    layer: LayerTrace, tokens: Tokens, options: StudyOptions = OPTIONS
) -> TokenSpecialisation:
    found = token_specialisation(layer, tokens, question_codes(tokens), options)
    assert found is not None
    return found


def test_shares_agree_with_loops() -> None:
    tokens, layer = text_tokens(), layer_of(random_logits(N))
    ids = tokens.token_id.tolist()
    shares, counts = slow.token_shares(layer, ids), Counter(ids)
    own = {token: slow.own_share(shares[token], K) for token in counts}

    found = found_in(layer, tokens)

    assert found.n_vocabulary == len(counts) == 12
    assert found.covered == 1
    assert found.own_share == pytest.approx(sum(own[token] * n for token, n in counts.items()) / N)
    assert [entry.token_id for entry in found.most_frequent] == [
        token for token, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    for entry in found.most_frequent:
        assert entry.count == counts[entry.token_id]
        assert entry.own_share == pytest.approx(own[entry.token_id])
        assert [one.share for one in entry.experts] == pytest.approx(
            sorted(shares[entry.token_id].values(), reverse=True)[:K]
        )
    load = slow.load(layer)
    for expert, entries in enumerate(found.by_expert):
        expected = sorted((shares[token].get(expert, 0) for token in counts), reverse=True)[:5]
        assert [one.share for one in entries] == pytest.approx(expected)
        for one in entries:
            assert one.expert == expert
            assert one.share == pytest.approx(shares[one.token_id][expert])
            assert one.expected == pytest.approx(load[expert] / N)


def test_questions_are_counted_over_tasks() -> None:
    tokens = text_tokens()
    keys = zip(tokens.token_id, tokens.task, tokens.question, strict=True)
    expected = Counter(token for token, _, _ in set(keys))

    found = found_in(layer_of(random_logits(N)), tokens)

    assert {entry.token_id: entry.n_questions for entry in found.most_frequent} == expected


def test_a_router_that_does_not_see_the_token_is_at_chance() -> None:
    # Many rare tokens: the own share alone would be far above the load.
    tokens = text_tokens(token_id=np.arange(N) % 80)

    found = found_in(layer_of(random_logits(N)), tokens)

    load = sorted(slow.load(layer_of(random_logits(N))), reverse=True)
    assert found.own_share > sum(load[:K]) / sum(load) + 0.02
    assert found.own_share == pytest.approx(found.chance, abs=0.01)
    assert abs(found.corrected) < 0.02
    differences = [entry.own_share - entry.chance for entry in found.most_frequent]
    assert abs(fmean(differences)) < 0.03


def test_a_router_that_sees_only_the_token_is_at_one() -> None:
    tokens = text_tokens()
    logits = random_logits(12, seed=3)[tokens.token_id]

    found = found_in(layer_of(logits), tokens)

    assert found.own_share == pytest.approx(1)
    assert found.corrected == pytest.approx(1)
    assert found.chance < 0.7
    assert all(entry.own_share == pytest.approx(1) for entry in found.most_frequent)
    assert all(one.share == 1 for one in found.most_frequent[0].experts)


def test_half_of_the_choices_by_the_token_are_between_chance_and_one() -> None:
    tokens = text_tokens()
    own, free = random_logits(12, 32, seed=3)[tokens.token_id], random_logits(N, 32, seed=4)
    by_token = np.random.default_rng(5).random(N) < 0.5

    found = found_in(layer_of(np.where(by_token[:, None], own, free)), tokens)

    assert 0.3 < found.corrected < 0.6


def test_rare_tokens_and_those_of_few_questions_are_left_out() -> None:
    ids = np.full(N, 7)
    ids[:30] = 1  # of the first questions alone
    ids[::200] = 2  # rare
    tokens = text_tokens(token_id=ids)

    found = found_in(layer_of(random_logits(N)), tokens)

    assert [entry.token_id for entry in found.most_frequent] == [7]
    assert found.covered == pytest.approx((ids == 7).mean())
    assert (found.min_count, found.min_questions) == (20, 3)


def test_image_positions_and_unknown_tokens_are_left_out() -> None:
    tokens = text_tokens()
    modality = (tokens.token_id == 3).astype(np.int8)
    ids = np.where(tokens.token_id == 4, -1, tokens.token_id).astype(np.int32)

    found = found_in(layer_of(random_logits(N)), replace(tokens, modality=modality, token_id=ids))

    assert {entry.token_id for entry in found.most_frequent} == {*range(12)} - {3, 4}
    assert found.covered == 1


def test_without_frequent_tokens_there_is_no_specialisation() -> None:
    tokens = text_tokens(token_id=np.arange(N))
    layer = layer_of(random_logits(N))

    assert token_specialisation(layer, tokens, question_codes(tokens), OPTIONS) is None


def test_experts_that_compute_nothing_count_as_others() -> None:
    layer = replace(layer_of(random_logits(N)), num_experts=6, num_zero_experts=2)

    assert len(found_in(layer, text_tokens()).by_expert) == NUM_EXPERTS
