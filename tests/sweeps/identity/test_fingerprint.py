from __future__ import annotations

from moe_eval_plugin.sweeps.identity.fingerprint import version_settings


def test_a_sweep_depends_on_its_own_harness_alone() -> None:
    names = {name.removeprefix("version of ") for name in version_settings("lmms-eval")}
    # The settings of earlier sweeps: with another one their finished points would be run again.
    assert names == {
        *("moe-eval-plugin", "lmms-eval", "torch", "transformers", "accelerate", "datasets"),
        "snowballstemmer",
    }
