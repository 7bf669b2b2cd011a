"""A table as text, as HTML of a notebook, and as data."""

from __future__ import annotations

from html.parser import HTMLParser

from moe_eval_plugin.api.table import Table, make_table

TABLE = make_table(
    [("name", "Name"), ("n", "N & more")],
    [[("<b>", "<b>"), (1.234, "1.2")], [("two", "two"), (None, "-")]],
    "How to read it",
)


class Tags(HTMLParser):
    """The tags that are open, and the text of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, _: object) -> None:
        self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        assert self.opened
        self.cells.append(data)


def test_text_is_aligned() -> None:
    assert repr(TABLE).splitlines() == [
        "Name  N & more",
        "<b>        1.2",
        "two          -",
        "How to read it",
    ]


def test_html_is_whole_and_escaped() -> None:
    tags = Tags()
    tags.feed(TABLE._repr_html_())
    assert tags.opened == []
    assert tags.cells == ["How to read it", "Name", "N & more", "<b>", "1.2", "two", "-"]


def test_data_is_not_rounded() -> None:
    assert TABLE.to_dicts() == [{"name": "<b>", "n": 1.234}, {"name": "two", "n": None}]
    assert TABLE.to_csv() == "name,n\r\n<b>,1.234\r\ntwo,\r\n"
    assert list(TABLE.to_pandas()["name"]) == ["<b>", "two"]


def test_a_table_may_be_empty() -> None:
    empty = make_table([("name", "Name")], [])
    assert (len(empty), repr(empty), empty.to_dicts()) == (0, "Name", [])
    assert (len(Table(())), repr(Table(()))) == (0, "no rows")
