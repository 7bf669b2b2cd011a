"""Order requests for batches: grouped, longest first, with a batch size that can shrink."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

T = TypeVar("T")


# Requests of a batch whose units share prefixes: for so many calls of the model, and no fewer than
# the most questions that are usual about one image.
CALLS_OF_A_BATCH = 4
LEAST_OF_A_BATCH = 32


class BatchQueue(Generic[T]):
    """Batches of requests that may share one call of the model.

    Only requests with the same ``group`` key share a batch; groups keep their order of first
    appearance, and inside a group the longest request comes first: little padding, and a batch
    size that is too large for the memory shows at once.

    Requests with the same key of ``together``, where it has one, are a unit that shares a prefix.
    A batch has up to ``batch_size`` units, and so may have more requests than one call of the model
    takes; a unit is not divided if it fits into a batch. Without ``together`` each request is a
    unit.
    """

    def __init__(
        self,
        requests: Sequence[T],
        batch_size: int,
        group: Callable[[T], Hashable],
        length: Callable[[T], int],
        together: Callable[[T], Hashable | None] = lambda _: None,
    ) -> None:
        self.batch_size = batch_size
        self._together = together
        groups: dict[Hashable, list[T]] = {}
        for request in requests:
            groups.setdefault(group(request), []).append(request)
        self._groups = deque(
            self._units(sorted(members, key=length, reverse=True)) for members in groups.values()
        )

    def __bool__(self) -> bool:
        """Whether requests are left."""
        return bool(self._groups)

    def pop(self) -> list[T]:
        """Remove and return the next batch; ``IndexError`` if no request is left."""
        group = self._groups[0]
        batch: list[T] = []
        most = max(CALLS_OF_A_BATCH * self.batch_size, LEAST_OF_A_BATCH)
        for _ in range(self.batch_size):
            if not group or (batch and len(batch) + len(group[0]) > most):
                break
            unit = group.popleft()
            batch += unit[:most]
            if unit[most:]:
                group.appendleft(unit[most:])
        if not group:
            self._groups.popleft()
        return batch

    def put_back_halved(self, batch: Sequence[T], size: int) -> None:
        """Return a batch of which ``size`` requests were too many for one call of the model.

        From now on a call gets at most half as many. If it got one alone, nothing is shared from
        now on.
        """
        if size == 1:
            self._together = lambda _: None
            self._groups = deque(
                self._units([one for unit in units for one in unit]) for units in self._groups
            )
        self.batch_size = min(self.batch_size, max(1, size // 2))
        self.put_back(batch)

    def put_back(self, batch: Sequence[T]) -> None:
        """Return a batch, or the rest of one, which will be the next."""
        if batch:
            self._groups.appendleft(self._units(batch))

    def _units(self, requests: Sequence[T]) -> deque[list[T]]:
        """Join the requests that share a prefix, in the order in which the units begin."""
        units: dict[Hashable, list[T]] = {}
        for number, request in enumerate(requests):
            key = self._together(request)
            units.setdefault((number,) if key is None else (None, key), []).append(request)
        return deque(units.values())
