from __future__ import annotations

from moe_eval_plugin.sweeps.timing.sample import LARGEST_SAMPLE, choose_sample, make_blocks


def test_the_seed_alone_chooses_the_questions() -> None:
    chosen = choose_sample(10_000, 0)
    assert chosen == choose_sample(10_000, 0) != choose_sample(10_000, 1)
    assert len(set(chosen)) == LARGEST_SAMPLE
    assert list(chosen) == sorted(chosen)
    assert choose_sample(3, 0) == (0, 1, 2)


def test_a_block_has_one_large_batch_or_several_small_ones() -> None:
    large = [[n] * 32 for n in range(4)]
    assert [len(block) for block in make_blocks(large, 32, 0)] == [1] * 4
    small = [[n] for n in range(40)]
    assert [len(block) for block in make_blocks(small, 1, 0)] == [16, 16, 8]


def test_a_batch_that_does_not_fill_the_batch_size_is_left_out() -> None:
    blocks = make_blocks([[1, 2], [3, 4], [5]], 2, 0)
    assert sorted(batch for block in blocks for batch in block) == [[1, 2], [3, 4]]
    assert make_blocks([[5]], 2, 0) == [[[5]]]


def test_the_order_of_batches_does_not_follow_their_length() -> None:
    batches = [[n] * 16 for n in range(20)]
    blocks = [block[0] for block in make_blocks(batches, 16, 0)]
    assert blocks != batches
    assert sorted(blocks) == batches
    assert blocks == [block[0] for block in make_blocks(batches, 16, 0)]
