from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.results.compare.compared_runs import compare_files, sample
from tests.results.run_files import write_run

if TYPE_CHECKING:
    from pathlib import Path


def test_a_comparison_is_plain_data(tmp_path: Path) -> None:
    path = write_run(tmp_path, {"okvqa": [sample(1)]})

    found = compare_files(path, path, margin=0.01).to_dict()

    assert json.loads(json.dumps(found))["tasks"][0]["scores"][0]["metric"] == "vqa_accuracy"
    assert found["tasks"][0]["changes"] == {}
