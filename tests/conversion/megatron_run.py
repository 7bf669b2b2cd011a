"""What Megatron computes and what its checkpoint computes after a conversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from safetensors.torch import load_file

from moe_eval_plugin.conversion.flame_moe.convert import convert_flame_moe
from moe_eval_plugin.conversion.options import ConversionOptions
from tests.conversion.logits import logits_at

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


@dataclass(frozen=True)
class MegatronRun:
    """A run directory of Megatron, with the logits that Megatron computed."""

    folder: Path

    @property
    def iteration(self) -> Path:
        """The folder of its only checkpoint."""
        (found,) = self.folder.glob("iter_*")
        return found

    @property
    def token_ids(self) -> Tensor:
        """Token ids of shape (texts, tokens)."""
        return load_file(self.folder / "logits.safetensors")["token_ids"]

    def logits(self, dtype: str = "float32") -> dict[int, Tensor]:
        """Megatron's logits in a data type at each k; at 0 those of a dense model."""
        stored = load_file(self.folder / "logits.safetensors")
        names = [name for name in stored if name.startswith(dtype)]
        return {int(name.partition(".k")[2] or 0): stored[name] for name in names}

    def converted(self, folder: Path, layout: str, dtype: str | None = None) -> dict[int, Tensor]:
        """Convert into a folder, and return the logits of the result at the same k."""
        convert_flame_moe(self.folder, folder, ConversionOptions(layout=layout, dtype=dtype))
        ks = [k for k in self.logits() if k]
        return logits_at(folder, self.token_ids, ks)
