"""Requests are grouped, sorted and halved without losing or doubling any."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.engines.transformers.batches.batch_queue import BatchQueue

Request = tuple[str, int]


def queue_of(requests: list[Request], batch_size: int) -> BatchQueue[Request]:
    return BatchQueue(requests, batch_size, group=lambda r: r[0], length=lambda r: r[1])


def test_groups_do_not_mix_and_the_longest_comes_first() -> None:
    queue = queue_of([("a", 1), ("b", 9), ("a", 3), ("a", 2)], batch_size=2)
    assert [queue.pop(), queue.pop(), queue.pop()] == [[("a", 3), ("a", 2)], [("a", 1)], [("b", 9)]]
    assert not queue


def test_a_batch_that_is_too_large_comes_back_in_halves() -> None:
    queue = queue_of([("a", n) for n in range(10)], batch_size=8)
    queue.put_back_halved(queue.pop(), 8)
    assert [len(queue.pop()) for _ in range(3)] == [4, 4, 2]
    assert queue.batch_size == 4


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5))),
    st.integers(1, 7),
    st.lists(st.booleans()),
)
def test_every_request_comes_out_once(
    requests: list[Request], batch_size: int, out_of_memory: list[bool]
) -> None:
    queue, seen, faults = queue_of(requests, batch_size), [], iter(out_of_memory)
    while queue:
        batch = queue.pop()
        assert len(batch) <= queue.batch_size
        assert len({group for group, _ in batch}) == 1
        if len(batch) > 1 and next(faults, False):
            queue.put_back_halved(batch, len(batch))
        else:
            seen += batch
    assert sorted(seen) == sorted(requests)
