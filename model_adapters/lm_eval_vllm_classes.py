"""lm-eval's own models for vLLM, imported beside any build of vLLM.

Their modules ask for the version of a distribution named ``vllm``, which the builds for other
devices do not have, and import ray, which only data parallel needs: it is refused here.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

import vllm

# vLLM looks for its device in the version of its distribution, before anything is replaced here.
from vllm.platforms import current_platform  # noqa: F401

from moe_eval_plugin.hosts.replacement import replaced

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def _importable() -> Iterator[None]:
    """Make the host's modules importable while the block runs."""
    of_distribution = metadata.version

    def version(name: str) -> str:
        try:
            return of_distribution(name)
        except metadata.PackageNotFoundError:
            if name != "vllm":
                raise
            return str(vllm.__version__)

    has_ray = find_spec("ray") is not None
    if not has_ray:
        sys.modules["ray"] = ModuleType("ray")
    try:
        with replaced(metadata, "version", version):
            yield
    finally:
        if not has_ray:
            del sys.modules["ray"]


with _importable():
    from lm_eval.models import vllm_causallms
    from lm_eval.models.vllm_causallms import VLLM
    from lm_eval.models.vllm_vlms import VLLM_VLM

__all__ = ["VLLM", "VLLM_VLM", "vllm_causallms"]
