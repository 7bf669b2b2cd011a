"""The journal of a point whose questions share images: what was answered is found again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.engines.transformers.batches.sharing_plan import plan_sharing
from moe_eval_plugin.engines.transformers.shared.images import ImageOutputs
from moe_eval_plugin.sweeps.workers.batch_store import SweepBatches
from moe_eval_plugin.sweeps.workers.input_cache import InputCache
from moe_eval_plugin.sweeps.workers.journal import Journal
from tests.engines.transformers.batches.image_jobs import Listener, answered, image_jobs
from tests.sweeps.workers.resident_runs import GIB, switch_to

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.sweeps.workers.lmms_eval_model import ResidentMoEHF

N_IMAGES, BATCH_SIZE = 4, 2


def run_point(model: ResidentMoEHF, journal: Path, inputs: InputCache, listener: Listener) -> Any:
    jobs = image_jobs(N_IMAGES)
    sharing = plan_sharing(model.engine, jobs, "yes")
    store = SweepBatches(inputs, Journal(journal, {}), lambda *_, **__: None)
    store.start_run()
    store.encode_ahead(model.engine, jobs, BATCH_SIZE, listener.refuse, sharing)
    return answered(model.engine, jobs, sharing, BATCH_SIZE, listener, store)


def test_a_run_that_was_killed_goes_on_behind_its_last_batch(
    model: ResidentMoEHF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch_to(model, 4)
    expected = answered(model.engine, image_jobs(N_IMAGES), None)
    model.engine.image_outputs = ImageOutputs(GIB)
    inputs, journal, prefixes = InputCache(GIB), tmp_path / "k4.jsonl", []
    compute = model.engine.compute_prefixes

    def killed_at_the_second(*given: Any) -> Any:
        prefixes.append(1)
        if len(prefixes) == 2:
            raise KeyboardInterrupt
        return compute(*given)

    monkeypatch.setattr(model.engine, "compute_prefixes", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run_point(model, journal, inputs, Listener())
    listener = Listener()
    assert run_point(model, journal, inputs, listener) == expected
    assert len(prefixes) == 3  # of two batches: the first one was found
    assert [batch.is_shared for batch in listener.batches] == [True, True]
    # Another k takes inputs and images from memory.
    switch_to(model, 2)
    assert run_point(model, tmp_path / "k2.jsonl", inputs, Listener()) == answered(
        model.engine, image_jobs(N_IMAGES), None
    )
    model.engine.image_outputs = None
