from __future__ import annotations

from moe_eval_plugin.results.versions import installed_versions


def test_versions_name_what_is_installed() -> None:
    versions = installed_versions()
    assert versions["lmms-eval"] is not None
    assert versions["moe-eval-plugin"] is not None
