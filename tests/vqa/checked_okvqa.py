from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.cli import build_parser
from moe_eval_plugin.vqa.check import check_folder
from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from moe_eval_plugin.vqa.check import SplitReport
    from moe_eval_plugin.vqa.check_faults import Finding


FILES = OFFICIAL_FILES["okvqa"]


QUESTIONS = FILES.questions


ANNOTATIONS = str(FILES.annotations)


def okvqa(okvqa_folder: Path, *, strict: bool = False) -> SplitReport:
    (report,) = (r for r in check_folder(okvqa_folder, strict=strict) if r.name == "okvqa")
    return report


def only_finding(okvqa_folder: Path, *, strict: bool = False) -> Finding:
    (finding,) = okvqa(okvqa_folder, strict=strict).findings
    return finding


def data_check(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    options = build_parser().parse_args(["data", "check", *arguments])
    return options.run(options), capsys.readouterr().out
