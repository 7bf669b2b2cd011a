"""Makes a CUDA build of torchvision importable beside a CPU build of torch.

PyPI has torchvision for CUDA alone. Its compiled operators cannot be loaded by a torch for CPUs,
and then its own Python code fails, because it describes an operator that is not there. Naming the
operators before that is enough: image transforms, which are all that processors use, need none.

For the environment that tests vLLM on a CPU: put this file into its ``site-packages``, and beside
it a file ``torchvision_without_cuda.pth`` with the one line ``import torchvision_without_cuda``.
Nothing is imported before something imports torchvision.
"""

from __future__ import annotations

import importlib.abc
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

OPERATORS = ("nms", "qnms")
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class NamesOperators(importlib.abc.MetaPathFinder):
    """Names torchvision's operators when it is about to be imported; finds no module itself."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002  (the signature of a finder)
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Prepare torchvision, once, and leave finding it to others."""
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            name_operators()
        return None


def name_operators() -> None:
    """Name the operators, where the builds of torch and torchvision do not fit each other."""
    import torch

    if torch.version.cuda is None and not version("torchvision").endswith("+cpu"):
        for operator in OPERATORS:
            torch.library.define(f"torchvision::{operator}", SIGNATURE)


sys.meta_path.insert(0, NamesOperators())
