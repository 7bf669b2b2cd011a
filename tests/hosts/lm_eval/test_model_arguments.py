"""The arguments of our models in lm-eval: joined with the host's own, and read by their names."""

from __future__ import annotations

from typing import Any

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.lm_eval.model_arguments import join_arguments, refuse_misspelt


@pytest.mark.parametrize(
    ("given", "of_the_host", "joined"),
    [
        ({}, {"batch_size": 1, "device": "cuda:0", "max_batch_size": None}, {"batch_size": 1}),
        ({"device": "cpu"}, {"device": "cuda:0"}, {"device": "cpu"}),
        ({}, {"device": "cuda:1"}, {"device": "cuda:1"}),
        ({"batch_size": 8}, {"batch_size": 1}, {"batch_size": 8}),
        ({"batch_size": "8"}, {"batch_size": 8}, {"batch_size": "8"}),
    ],
)
def test_defaults_of_the_host_do_not_count(
    given: dict[str, Any], of_the_host: dict[str, Any], joined: dict[str, Any]
) -> None:
    assert join_arguments(given, of_the_host) == joined


def test_an_option_with_two_values_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"--batch_size 4.*batch_size=8"):
        join_arguments({"batch_size": 8}, {"batch_size": 4})


@pytest.mark.parametrize("name", ["expert_k", "experts_ks", "expert_policy", "re_norm", "profil"])
def test_a_name_that_is_almost_ours_is_refused(name: str) -> None:
    ours = ("experts_k", "experts_policy", "renorm", "profile")
    with pytest.raises(InvalidArgumentError, match=f"{name} is not an argument of moe_hf. Did you"):
        refuse_misspelt("moe_hf", [name], ours, [])


def test_names_of_the_host_and_others_are_passed_on() -> None:
    ours = ("experts_k", "profile")
    given = ["experts_k", "profiler", "quantization_config"]
    refuse_misspelt("moe_hf", given, ours, ["profiler"])
    # Unless it is known to be an argument of the host, a name that is almost ours is refused.
    with pytest.raises(InvalidArgumentError) as refused:
        refuse_misspelt("moe_hf", given, ours, [])
    assert "profiler" in str(refused.value)
