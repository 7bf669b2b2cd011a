from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _short_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time sweeps for about a second where their commands say nothing else."""
    work = "moe_eval_plugin.sweeps.timing.work"
    monkeypatch.setattr(f"{work}.LEAST_BUDGET_S", 1.0)
    monkeypatch.setattr(f"{work}.QUESTIONS_OF_THE_BUDGET", 10)
