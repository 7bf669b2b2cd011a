"""Hosts by name, with or without their packages."""

from __future__ import annotations

import pytest

from moe_eval_plugin.errors import InvalidArgumentError, MissingDependencyError
from moe_eval_plugin.hosts import harness as harnesses
from moe_eval_plugin.hosts.harness import PACKAGES, default_host, harness, installed_harness
from moe_eval_plugin.hosts.shared.host_run import HostRun


@pytest.mark.parametrize("name", PACKAGES)
def test_each_host_writes_a_run_of_its_own_command(name: str) -> None:
    run = HostRun("moe_hf", "pretrained=demo,experts_k=2", ("a", "b"), limit=3, num_fewshot=5)
    settings = harness(name).run_settings(run)
    written = settings.arguments("out")
    for option, value in (
        ("--model", "moe_hf"),
        ("--model_args", "pretrained=demo,experts_k=2"),
        ("--tasks", "a,b"),
        ("--limit", "3"),
        ("--num_fewshot", "5"),
        ("--output_path", "out"),
    ):
        assert written[written.index(option) + 1] == value
    assert "--log_samples" in written
    assert settings.command("out") == [*harness(name).program, *written]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_host_that_is_not_installed_is_named_with_its_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = next(one for one in PACKAGES if one != name)
    monkeypatch.setattr(harnesses, "find_spec", lambda one: one != PACKAGES[name] or None)

    assert harness(name).name == name
    assert default_host() == other
    with pytest.raises(MissingDependencyError, match=rf'"moe-eval-plugin\[{name}\]".*{other}'):
        installed_harness(name)


def test_a_host_that_is_not_known_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="Use one of: lmms-eval, lm-eval"):
        harness("helm")


def test_arguments_of_a_model_are_joined_and_read() -> None:
    for name in PACKAGES:
        host = harness(name)
        text = host.join_texts(["pretrained=demo", "", "experts_k=0-1:4/2:8"])
        assert host.argument_names(text) == {"pretrained", "experts_k"}
        read = host.read_arguments(text, {"device": "cpu", "batch_size": "4"})
        assert {name: str(value) for name, value in read.items()} == {
            "pretrained": "demo",
            "experts_k": "0-1:4/2:8",
            "device": "cpu",
            "batch_size": "4",
        }
        with pytest.raises(InvalidArgumentError, match="device"):
            host.read_arguments("device=cpu", {"device": "cuda"})


def test_names_of_lm_eval_are_known_before_it_is_imported() -> None:
    host = harness("lm-eval")
    host.check_tasks(["mmlu", "mmlu_*", "bbh_fewshot_navigate"], None)
    with pytest.raises(InvalidArgumentError, match=r"mmluu\. Did you mean mmlu"):
        host.check_tasks(["mmlu", "mmluu"], None)
    for name in ("hf", "moe_hf", "moe_hf-multimodal"):
        host.check_model(name)
    with pytest.raises(InvalidArgumentError, match=r"moe_hff is not known\. Did you mean moe_hf"):
        host.check_model("moe_hff")
