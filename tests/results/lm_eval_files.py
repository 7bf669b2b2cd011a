"""Files that lm-eval wrote; see the README next to them."""

from __future__ import annotations

from pathlib import Path

DATE = "2026-11-28T19-55-25.260351"
FOLDER = Path("tests/data/lm_eval/hf")
RESULTS_FILE = FOLDER / f"results_{DATE}.json"
