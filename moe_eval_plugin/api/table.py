"""A table of results: text in a terminal, HTML in a notebook, a data frame where it is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, TypeAlias

from moe_eval_plugin.errors import MissingDependencyError
from moe_eval_plugin.text import align, csv_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

Value: TypeAlias = "str | float | int | bool | None"


@dataclass(frozen=True)
class TableColumn:
    """A column of a table."""

    key: str
    """Name of the column in a data frame and in CSV."""
    heading: str
    """Its heading."""
    raw: tuple[Value, ...]
    """Unrounded values of its rows; ``None`` is not known."""
    texts: tuple[str, ...]
    """The same as people read them."""

    @property
    def is_numeric(self) -> bool:
        """Whether it holds numbers, which are aligned to the right."""
        return any(isinstance(value, int | float) for value in self.raw)


@dataclass(frozen=True, repr=False)
class Table:
    """Rows of results, as unrounded values and as text.

    A table shows itself as text in a terminal and as HTML in a notebook.
    """

    columns: tuple[TableColumn, ...]
    """The columns on display, each with a value for every row."""
    caption: str = ""
    """How to read the table."""
    all_columns: tuple[TableColumn, ...] = ()
    """The columns of data frames and CSV, if these have more than the display."""

    def __len__(self) -> int:
        return len(self.columns[0].raw) if self.columns else 0

    def __iter__(self) -> Iterator[dict[str, Value]]:
        return iter(self.to_dicts())

    def to_dicts(self) -> list[dict[str, Value]]:
        """Return each row as a dictionary of unrounded values."""
        return [{one.key: one.raw[row] for one in self._stored} for row in range(len(self))]

    def to_csv(self) -> str:
        """Return the table as CSV with unrounded values. Unknown values are empty."""
        rows = zip(*(one.raw for one in self._stored), strict=True)
        return csv_text([[one.key for one in self._stored], *rows])

    def to_pandas(self) -> pd.DataFrame:
        """Return the table as a data frame with unrounded values.

        Raises ``MissingDependencyError`` without pandas.
        """
        try:
            import pandas as pd
        except ImportError as error:
            message = "to_pandas needs pandas, which is not installed. Run `pip install pandas`."
            raise MissingDependencyError(message) from error
        return pd.DataFrame({one.key: list(one.raw) for one in self._stored})

    @property
    def _stored(self) -> tuple[TableColumn, ...]:
        return self.all_columns or self.columns

    def __repr__(self) -> str:
        heads = [one.heading for one in self.columns]
        rows = [heads, *zip(*(one.texts for one in self.columns), strict=True)]
        letters = "".join("r" if one.is_numeric else "l" for one in self.columns)
        lines = align(rows, letters) if self.columns else ["no rows"]
        return "\n".join([*lines, *([self.caption] if self.caption else [])])

    def _repr_html_(self) -> str:
        """Return the table as a notebook shows it."""
        kinds = ["right" if one.is_numeric else "left" for one in self.columns]
        heads = _cells("th", [one.heading for one in self.columns], kinds)
        rows = [
            f"<tr>{_cells('td', [one.texts[row] for one in self.columns], kinds)}</tr>"
            for row in range(len(self))
        ]
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        body = f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>"
        return f"<table>{caption}{body}</table>"


def make_table(
    heads: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[tuple[Value, str]]],
    caption: str = "",
) -> Table:
    """Build a table; ``heads`` are keys and headings, ``rows`` the values and texts of cells."""
    cells = list(zip(*rows, strict=True)) if rows else [()] * len(heads)
    columns = tuple(
        TableColumn(key, heading, tuple(v for v, _ in column), tuple(t for _, t in column))
        for (key, heading), column in zip(heads, cells, strict=True)
    )
    return Table(columns, caption)


def _cells(tag: str, texts: Sequence[str], kinds: Sequence[str]) -> str:
    return "".join(
        f'<{tag} style="text-align: {kind}">{escape(text)}</{tag}>'
        for text, kind in zip(texts, kinds, strict=True)
    )
