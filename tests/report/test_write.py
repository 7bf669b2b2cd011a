from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError, InvalidArgumentError

for name in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(name, reason="the extra report is not installed")

from moe_eval_plugin.report.write import check_output, write_report  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.report.build import Report


def test_files_lie_beside_the_page(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"

    written = write_report(report, path)

    assert written[0] == path
    assert {file.name for file in (tmp_path / "new").iterdir()} == {path.name, "report_files"}
    assert path.read_text("utf-8") == report.html
    assert {file.suffix for file in written[1:]} == {".svg", ".png", ".csv", ".md"}
    for file in written[1:]:
        head = file.read_bytes()[:8]
        assert (head == b"\x89PNG\r\n\x1a\n") == (file.suffix == ".png")
        assert head.startswith(b"<svg") == (file.suffix == ".svg")


def test_the_page_is_written_before_its_charts_are_drawn(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    seen = []

    write_report(report, path, lambda: seen.append(path.is_file()))

    assert seen == [True] * len(report.figures)


def test_a_report_that_cannot_be_written_leaves_nothing_behind(
    report: Report, tmp_path: Path
) -> None:
    (tmp_path / "report_files").write_text("a file where a folder is needed")

    with pytest.raises(DataError, match="--output"):
        write_report(report, tmp_path / "report.html")

    assert [file.name for file in tmp_path.iterdir()] == ["report_files"]


def test_only_a_report_is_overwritten(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    check_output(path)
    path.write_text("<title>Something else</title>")
    with pytest.raises(InvalidArgumentError, match="--force"):
        check_output(path)
    check_output(path, force=True)

    write_report(report, path)

    check_output(path)


def test_the_page_has_to_be_an_html_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"does not end in \.html"):
        check_output(tmp_path / "report.pdf")
