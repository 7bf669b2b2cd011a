"""Order requests for batches: grouped, longest first, with a batch size that can shrink."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

T = TypeVar("T")


class BatchQueue(Generic[T]):
    """Batches of requests that may share one call of the model.

    Only requests with the same ``group`` key share a batch; groups keep their order of first
    appearance, and inside a group the longest request comes first: little padding, and a batch
    size that is too large for the memory shows at once.
    """

    def __init__(
        self,
        requests: Sequence[T],
        batch_size: int,
        group: Callable[[T], Hashable],
        length: Callable[[T], int],
    ) -> None:
        self.batch_size = batch_size
        groups: dict[Hashable, list[T]] = {}
        for request in requests:
            groups.setdefault(group(request), []).append(request)
        self._groups = deque(
            deque(sorted(members, key=length, reverse=True)) for members in groups.values()
        )

    def __bool__(self) -> bool:
        """Whether requests are left."""
        return bool(self._groups)

    def pop(self) -> list[T]:
        """Remove and return the next batch; ``IndexError`` if no request is left."""
        group = self._groups[0]
        batch = [group.popleft() for _ in range(min(self.batch_size, len(group)))]
        if not group:
            self._groups.popleft()
        return batch

    def put_back_halved(self, batch: Sequence[T]) -> None:
        """Return a batch that was too large; from now on batches have at most half its size."""
        self.batch_size = min(self.batch_size, max(1, len(batch) // 2))
        self.put_back(batch)

    def put_back(self, batch: Sequence[T]) -> None:
        """Return a batch, or the rest of one, which will be the next."""
        if batch:
            self._groups.appendleft(deque(batch))
