"""Convert a checkpoint of FLAME-MoE: check everything, then write one tensor after the other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.conversion.flame_moe.arguments import check_arguments, kept_arguments
from moe_eval_plugin.conversion.flame_moe.config import generation_config, model_config
from moe_eval_plugin.conversion.flame_moe.reading import read_model
from moe_eval_plugin.conversion.flame_moe.summary import (
    LAYOUT_NOTES,
    ConversionSummary,
    count_parameters,
)
from moe_eval_plugin.conversion.flame_moe.targets import LLAMA, list_targets, read_target
from moe_eval_plugin.conversion.flame_moe.tokenizer import read_tokenizer
from moe_eval_plugin.conversion.options import Megabytes, Silent
from moe_eval_plugin.conversion.output.folder import check_new, partial_folder, partial_path
from moe_eval_plugin.conversion.output.manifest import MANIFEST, SourceFiles, manifest_text
from moe_eval_plugin.conversion.output.shards import Entry, index_text, plan_shards, write_shard
from moe_eval_plugin.conversion.torch_dist.checkpoint import read_checkpoint
from moe_eval_plugin.conversion.torch_dist.folder import find_iteration, iteration_number
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.files import sha256_of
from moe_eval_plugin.hardware.memory import free_disk_bytes
from moe_eval_plugin.text import counted, first_few, gib_text

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from moe_eval_plugin.conversion.flame_moe.model import FlameModel
    from moe_eval_plugin.conversion.flame_moe.targets import Target
    from moe_eval_plugin.conversion.flame_moe.tokenizer import Tokenizer
    from moe_eval_plugin.conversion.options import ConversionOptions, Progress
    from moe_eval_plugin.conversion.output.folder import PartialFolder
    from moe_eval_plugin.conversion.output.shards import Shard
    from moe_eval_plugin.conversion.torch_dist.checkpoint import TorchDistCheckpoint

CONFIG, GENERATION = "config.json", "generation_config.json"
INDEX = "model.safetensors.index.json"
# For the small files, besides the weights.
SPARE_BYTES = 2**24


@dataclass(frozen=True)
class _Plan:
    """All that is decided before anything is written."""

    checkpoint: TorchDistCheckpoint
    model: FlameModel
    layout: str
    dtype: str | None
    targets: dict[str, Target]
    shards: tuple[Shard, ...]
    texts: dict[str, bytes]
    notes: tuple[str, ...]

    @property
    def n_bytes(self) -> int:
        return sum(shard.n_bytes for shard in self.shards)


def convert_flame_moe(
    checkpoint: Path, output: Path, options: ConversionOptions, progress: Progress | None = None
) -> ConversionSummary:
    """Write a checkpoint as a folder that transformers and vLLM load, and return what it is.

    ``checkpoint`` is a run directory or the folder of one iteration. ``output`` appears when it is
    complete; until then it is ``output`` with ``.partial`` at its end, and the same call continues
    it after an interruption. A model without experts is written as ``llama`` whatever the layout.

    Raises ``UnsafeCheckpointError`` for files that name code or lead out of their folder,
    ``BrokenCheckpointError`` for files that are missing or broken, ``UnsupportedCheckpointError``
    for a model that no layout represents, and ``InvalidArgumentError`` for options that do not
    fit; in each case before anything is written.
    """
    shown = progress or Silent()
    check_new(output)
    shown.doing("reading the description of the checkpoint")
    plan = _plan(find_iteration(checkpoint, options.iteration), options)
    source = SourceFiles.of(plan.checkpoint.folder, plan.checkpoint.files(plan.model.shapes()))
    settings = {
        "version": version("moe-eval-plugin"),
        "source": source.states(),
        "layout": plan.layout,
        "dtype": plan.dtype,
        "shards": [shard.name for shard in plan.shards],
    }
    _check_space(plan, output)
    with partial_folder(output, settings, restart=options.restart) as folder:
        try:
            _write(plan, folder, shown)
            digests = source.digests(shown)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(_kept(plan, folder)) from stop
        text = manifest_text(digests, folder.finished, _facts(plan))
        (folder.folder / MANIFEST).write_text(text, "utf-8")
        source.check_unchanged()
        folder.complete()
    return _summary(plan, output)


def _plan(folder: Path, options: ConversionOptions) -> _Plan:
    """Check checkpoint and options, without reading weights or writing anything."""
    checkpoint = read_checkpoint(folder)
    model = read_model(checkpoint)
    has_experts = bool(model.n_experts)
    assumed = check_arguments(checkpoint.arguments, has_experts=has_experts)
    checkpoint.check(model.shapes())
    layout = options.layout if has_experts else LLAMA
    tokenizer = read_tokenizer(options.tokenizer, model.vocabulary)
    targets = {one.name: one for one in list_targets(model, checkpoint, layout)}
    entries = [Entry(one.name, one.shape, options.dtype or one.dtype) for one in targets.values()]
    shards = plan_shards(entries)
    dtype = options.dtype or model.dtype
    texts = _texts(model_config(model, layout, dtype, tokenizer.end), tokenizer, shards)
    notes = (*LAYOUT_NOTES[layout], *tokenizer.notes, *_assumed(assumed))
    return _Plan(checkpoint, model, layout, options.dtype, targets, shards, texts, notes)


def _texts(
    config: dict[str, Any], tokenizer: Tokenizer, shards: tuple[Shard, ...]
) -> dict[str, bytes]:
    """Return the files besides the weights."""
    generation = generation_config(tokenizer.end)
    found = {
        CONFIG: f"{json.dumps(config, indent=2)}\n".encode(),
        GENERATION: f"{json.dumps(generation, indent=2)}\n".encode(),
        **tokenizer.files,
    }
    index = index_text(shards)
    return {**found, INDEX: index.encode()} if index else found


def _assumed(names: tuple[str, ...]) -> list[str]:
    if not names:
        return []
    note = (
        f"The arguments of the run do not state {first_few(names)}: the values of FLAME-MoE were "
        f"assumed for {counted(len(names), 'argument')}."
    )
    return [note]


def _check_space(plan: _Plan, output: Path) -> None:
    folder = partial_path(output)
    there = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    needed, free = plan.n_bytes + SPARE_BYTES - there, free_disk_bytes(folder)
    if needed > free:
        message = (
            f"{output} needs {gib_text(needed)}, and {gib_text(free)} are free on its disk. Free "
            "space, or choose a folder on another disk."
        )
        raise InvalidArgumentError(message)


def _write(plan: _Plan, folder: PartialFolder, progress: Progress) -> None:
    """Write the files that are not complete yet."""
    counter = Megabytes(progress, "writing the weights", plan.n_bytes)

    def values_of(name: str) -> Tensor:
        return read_target(plan.checkpoint, plan.model, plan.targets[name], plan.dtype)

    for shard in plan.shards:
        if folder.is_complete(shard.name, lambda n: counter.add(n, earlier=True)):
            continue
        counter.add(len(shard.header))
        path = folder.folder / shard.name
        folder.add(shard.name, write_shard(path, shard, values_of, counter.add))
    for name, content in plan.texts.items():
        path = folder.folder / name
        path.write_bytes(content)
        folder.add(name, sha256_of(path))


def _kept(plan: _Plan, folder: PartialFolder) -> str:
    n = sum(shard.name in folder.finished for shard in plan.shards)
    if not n:
        return "Nothing was kept. Run the same command to start again."
    return (
        f"{n} of {counted(len(plan.shards), 'file')} of weights are complete in {folder.folder}. "
        "Run the same command to continue."
    )


def _facts(plan: _Plan) -> dict[str, Any]:
    total, active = count_parameters(plan.model)
    return {
        "format": "flame-moe",
        "iteration": iteration_number(plan.checkpoint.folder),
        "layout": plan.layout,
        "dtype": plan.dtype or plan.model.dtype,
        "parameters": total,
        "active_parameters": active,
        "num_experts": plan.model.n_experts,
        "num_shared_experts": plan.model.n_shared,
        "num_experts_per_tok": plan.model.k,
        "num_layers": plan.model.n_layers,
        "moe_layers": list(plan.model.moe_layers),
        "arguments": kept_arguments(plan.checkpoint.arguments),
        "notes": list(plan.notes),
    }


def _summary(plan: _Plan, output: Path) -> ConversionSummary:
    total, active = count_parameters(plan.model)
    return ConversionSummary(
        output=output,
        source=plan.checkpoint.folder,
        iteration=iteration_number(plan.checkpoint.folder),
        layout=plan.layout,
        dtype=plan.dtype or plan.model.dtype,
        model=plan.model,
        n_parameters=total,
        n_active=active,
        n_bytes=plan.n_bytes,
        files=(*(shard.name for shard in plan.shards), *plan.texts, MANIFEST),
        notes=plan.notes,
    )
