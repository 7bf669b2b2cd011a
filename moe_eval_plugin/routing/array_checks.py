"""Check the arrays of a routing trace: their types, shapes and values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from moe_eval_plugin.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_array(name: str, array: Any, kind: str, n_dimensions: int) -> None:  # noqa: ANN401
    """Raise ``DataError`` unless an object is an array of a type and number of dimensions."""
    import numpy as np

    if not isinstance(array, np.ndarray) or array.dtype != kind or array.ndim != n_dimensions:
        found = f"{getattr(array, 'dtype', type(array).__name__)} {getattr(array, 'shape', '')}"
        fail(f"{name} is {found.strip()} instead of {kind} with {n_dimensions} dimension(s)")


def check_shape(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise ``DataError`` unless an array has a shape."""
    if array.shape != shape:
        fail(f"{name} has the shape {array.shape} instead of {shape}")


def check_range(name: str, array: NDArray[Any], low: int, end: int | None = None) -> None:
    """Raise ``DataError`` unless all values are at least ``low``, and below ``end``."""
    if not array.size:
        return
    smallest, largest = array.min(), array.max()
    if not smallest >= low or (end is not None and largest >= end):
        allowed = f"{low} or more" if end is None else f"{low} to {end - 1}"
        fail(f"{name} has values from {smallest} to {largest}; possible is {allowed}")


def fail(reason: str) -> NoReturn:
    """Raise ``DataError`` for the reason why data are no routing trace."""
    message = f"This is no routing trace: {reason}. Write the trace again with moe-eval routing."
    raise DataError(message)
