"""Questions of other splits are asked with the code of the task itself."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import yaml

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.hosts.lmms_eval.in_process import Host
from moe_eval_plugin.hosts.shared.host_run import HostRun
from moe_eval_plugin.tuning.prompts.drawing import draw
from moe_eval_plugin.tuning.prompts.request import CalibrationRequest

if TYPE_CHECKING:
    from pathlib import Path

FUNCTIONS = """
def visuals(doc):
    return []


def text(doc, lmms_eval_specific_kwargs=None, **_):
    return "Say " + doc["question"]


def odd(docs):
    return docs.filter(lambda doc: doc["number"] % 2)
"""
N_ROWS = 6

pytestmark = [
    # The host and what it imports use things that are about to change in Python and in libraries.
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tasks of lmms-eval, the second in several rounds; their data have a split more."""
    files = {}
    for split in ("test", "more"):
        rows = [{"number": n, "question": f"{split} {n}", "answer": "a"} for n in range(N_ROWS)]
        files[split] = str(tmp_path / f"{split}.jsonl")
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    (tmp_path / "functions.py").write_text(FUNCTIONS, "utf-8")
    for name, kind in (("odd", "generate_until"), ("rounds", "generate_until_multi_round")):
        definition = {
            "task": f"local_{name}",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": files},
            "test_split": "test",
            "output_type": kind,
            "doc_to_target": "answer",
            "generation_kwargs": {"max_new_tokens": 4},
            "metric_list": [
                {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
            ],
        }
        functions = "".join(
            f"{key}: !function functions.{function}\n"
            for key, function in (
                ("doc_to_visual", "visuals"),
                ("doc_to_text", "text"),
                ("process_docs", "odd"),
            )
        )
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(definition) + functions, "utf-8")
    return tmp_path


def test_documents_of_a_split_that_no_definition_names_are_processed_too(folder: Path) -> None:
    names = ("local_odd", "local_rounds")
    host = Host(HostRun("moe_hf", tasks=names, include_path=str(folder)))
    splits = host.splits()["local_odd"]
    assert (splits.evaluated, splits.training) == ("test", None)
    assert set(splits.names) == {"test", "more"}
    model = SimpleNamespace()

    def asked() -> list[str]:
        found = host.requests(model, "local_odd", range(host.n_questions(None)["local_odd"]))
        documents = [model.task_dict["local_odd"][one.args[5]][one.doc_id] for one in found]
        assert [one.args[0] for one in found] == [f"Say {doc['question']}" for doc in documents]
        return [doc["question"] for doc in documents]

    before = asked()
    assert before == ["test 1", "test 3", "test 5"]
    with host.asking({"local_odd": "more"}):
        assert asked() == ["more 1", "more 3", "more 5"]
    assert asked() == before
    request = CalibrationRequest("demo", names, include_path=str(folder))
    with pytest.raises(UserError, match="No calibration is possible with local_rounds: later"):
        draw(request, host)
