from __future__ import annotations

import pytest

from moe_eval_plugin.report.build import Options, Report, build
from tests.report.report_runs import (
    ATTACK,
    right,
    write_bench,
    write_other_run,
    write_run,
    wrong_every,
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "k8", 8, right, rate=10)
    write_run(folder / "k4", 4, wrong_every(5, ATTACK), rate=15)
    write_other_run(folder / "other")
    bench = write_bench(folder / "bench.json")
    return build([folder], Options(title=ATTACK, benches=[bench]))
