"""Points in one process: the model is loaded once, and its configuration is read once."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.engines.expert_request import ModelConfig
from moe_eval_plugin.engines.transformers import engine
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.models.demo import MODEL_PATH
from moe_eval_plugin.sweeps.launchers.launcher import LocalLauncher
from moe_eval_plugin.sweeps.plan import SweepPlan
from moe_eval_plugin.sweeps.planning import make_plan
from moe_eval_plugin.sweeps.settings.points import Axes
from moe_eval_plugin.sweeps.workers.in_process import InProcessWorker
from tests.models.fake_hub import published
from tests.publish.bundle.finished_sweeps import change, in_record, results_of, write_sweep
from tests.sweeps.workers.resident_runs import Heard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.models.fake_hub import Hub

NAME = "some/model"


class ModelHost:
    """A host that builds the model of each point, and asks it nothing."""

    def __init__(self) -> None:
        self.observed: list[tuple[Any, str]] = []

    @contextmanager
    def resident(self, make_model: Callable[..., Any]) -> Iterator[None]:
        self.make_model = make_model
        yield

    def evaluate(self, arguments: list[str], folder: Path) -> Path:
        given = dict(itertools.pairwise(arguments))
        model = self.make_model(given["--model_args"], {"batch_size": 1})
        self.observed.append((model, model.engine.request.resolved.schedule.text))
        return folder


@pytest.fixture
def demo_on_the_hub(fake_hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> type[Hub]:
    """A hub with the configuration of the embedded model, whose weights are read from disk."""
    fake_hub.models[NAME] = published({"model.safetensors": 10**6})
    fake_hub.models[NAME]["config"] = (MODEL_PATH / "config.json").read_bytes()
    for loader in ("load_model", "load_processor"):
        load = getattr(engine, loader)
        monkeypatch.setattr(
            engine,
            loader,
            lambda _, __, config, load=load: load(EngineOptions("demo"), str(MODEL_PATH), config),
        )
    return fake_hub


def test_a_sweep_asks_the_hub_for_the_configuration_once(
    demo_on_the_hub: type[Hub], tmp_path: Path
) -> None:
    one = ModelConfig.load(EngineOptions(NAME))
    n_for_one, requests = len(configuration_requests(demo_on_the_hub)), demo_on_the_hub.requests
    requests.clear()
    ks = ("8", "7", "6", "5", "4", "3", "2", "0-1:8/2-3:1")
    checked = make_plan(SweepPlan("moe_hf", f"pretrained={NAME}", ("a",), ()), Axes(ks))
    host, heard = ModelHost(), Heard()
    # Of an earlier process, which took 8 questions at once at its first setting.
    change(results_of(write_sweep(tmp_path), "k8"), in_record(_in_batches_of_8))
    with InProcessWorker(checked, host, tmp_path, {}, 0.1, heard) as worker:  # type: ignore[arg-type]
        for point in checked.plan.points:
            worker(point)
    assert tuple(k for _, k in host.observed) == ks
    assert heard.steps == ["loading the weights"]
    assert len({id(model) for model, _ in host.observed}) == 1
    assert host.observed[-1][0].batch_size == 8
    assert one.description == checked.model.description
    assert 0 < len(configuration_requests(demo_on_the_hub)) <= n_for_one
    # The check of the memory asks for the list of weight files.
    assert sum("blobs" in path for path in requests) == 1


def _in_batches_of_8(record: dict[str, Any]) -> None:
    record["provenance"]["batch_size"] = 8


def configuration_requests(hub: type[Hub]) -> list[str]:
    return [path for path in hub.requests if NAME in path and "blobs" not in path]


def test_a_model_that_cannot_be_loaded_is_tried_once(tmp_path: Path) -> None:
    class BrokenHost(ModelHost):
        def evaluate(self, arguments: list[str], folder: Path) -> Path:
            raise OSError(arguments[0], folder)

    checked = make_plan(SweepPlan("moe_hf", "pretrained=demo", ("a",), ()), Axes(("8", "4")))
    with (
        InProcessWorker(checked, BrokenHost(), tmp_path, {}, 0.1, Heard()) as worker,  # type: ignore[arg-type]
        pytest.raises(UserError, match=r"No setting can run: the model was not loaded\. OSError"),
    ):
        list(LocalLauncher().run(checked.plan.points, worker, lambda _: None))
