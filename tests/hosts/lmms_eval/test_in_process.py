"""lmms-eval in the process of a sweep."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from tenacity import Retrying, stop_after_attempt

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.hosts.lmms_eval.in_process import Host
from moe_eval_plugin.hosts.shared.host_run import HostRun

RUN = HostRun("moe_hf", tasks=("easy_vqa",))


def test_data_that_cannot_be_downloaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object) -> None:
        message = "Couldn't reach 'some/data' on the Hub"
        raise ConnectionError(message)

    once = Retrying(stop=stop_after_attempt(1))
    monkeypatch.setattr("lmms_eval.tasks.get_task_dict", lambda *_: once(download))
    named = "The data of easy_vqa cannot be downloaded: ConnectionError: Couldn't reach 'some/data'"
    with pytest.raises(DataError, match=named):
        Host(RUN)


def test_requests_of_chosen_questions_are_those_that_the_host_builds() -> None:
    host = Host(replace(RUN, gen_kwargs="max_new_tokens=3"))
    model = SimpleNamespace()
    found = host.requests(model, "easy_vqa", (4, 1))
    (task,) = (task for _, task in host._tasks())
    task.build_all_requests(limit=5)
    expected = [task.instances[4], task.instances[1]]
    assert [one.args for one in found] == [one.args for one in expected]
    assert [one.request_type for one in found] == ["generate_until"] * 2
    assert found[0].args[2]["max_new_tokens"] == 3
    assert host.output_types() == {"easy_vqa": "generate_until"}
    documents = model.task_dict["easy_vqa"][found[0].args[5]]
    assert documents[4]["question"] in found[0].args[0]
