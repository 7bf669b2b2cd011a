"""``bundle.json``: what is written is read back, with the keys of bundles that were published."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.publish.bundle.contents import collect
from moe_eval_plugin.publish.bundle.description import BundleDescription, Checkpoint
from tests.publish.bundle.finished_sweeps import LOCK, write_sweep

if TYPE_CHECKING:
    from pathlib import Path

# The form of version 1, as the first bundles have it: these keys, in this order.
STORED: dict[str, Any] = {
    "schema_version": 1,
    "kind": "bundle",
    "of": "run",
    "made": "20261122_115616",
    "commands": [["lmms-eval", "--model", "moe_hf", "--output_path", "{output}"]],
    "checkpoint": {
        "pretrained": "/models/x",
        "revision": None,
        "in_bundle": False,
        "is_local_folder": True,
        "sha256": {"config.json": "c0ffee"},
    },
    "points": {"run": "run/x_results.json"},
    "host_commands": {"run": ["lmms-eval", "--output_path", "{output}"]},
    "code": {"versions": {"torch": "2.9.0", "vllm": None}, "git_hash": None, "python": "3.11.9"},
    "machine": {"kind": "cpu", "threads": 2},
    "images": "not in the bundle: samples name the images, and the task reads them again",
    "warnings": ["a warning"],
}


def read(stored: dict[str, Any]) -> BundleDescription:
    return BundleDescription.from_dict(JsonObject(stored, "bundle.json"))


def test_a_bundle_of_version_1_is_read_and_written_with_the_same_keys() -> None:
    found = read(STORED)
    assert found.checkpoint == Checkpoint(
        "/models/x", is_local_folder=True, sha256={"config.json": "c0ffee"}
    )
    assert (found.of_sweep, found.python) == (False, "3.11.9")
    assert list(found.to_dict()) == list(STORED)
    assert found.to_dict() == STORED


def test_a_bundle_names_its_host_and_an_earlier_one_is_of_the_first_host() -> None:
    assert read(STORED).host == "lmms-eval"
    of_lm_eval = read({**STORED, "host": "lm-eval"})
    assert of_lm_eval.host == "lm-eval"
    assert of_lm_eval.to_dict() == {**STORED, "host": "lm-eval"}
    with pytest.raises(DataError, match="host"):
        read({**STORED, "host": "another"})


def test_what_a_sweep_is_packed_with_is_read_back(tmp_path: Path) -> None:
    description = collect(write_sweep(tmp_path / "sweep"), LOCK).description
    assert description.of_sweep
    assert "sha256" not in description.to_dict()["checkpoint"]
    assert read(description.to_dict()) == description


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("of", "bench"),
        ("commands", None),
        ("commands", ["rm -rf"]),
        ("checkpoint", None),
        ("checkpoint", {"pretrained": 1}),
        ("code", []),
        ("points", []),
    ],
)
def test_a_value_of_another_type_is_refused(key: str, value: object) -> None:
    with pytest.raises(DataError, match=key):
        read({**STORED, key: value})
