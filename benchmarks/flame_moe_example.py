"""Write what a walk through docs/how-to/run-flame-moe.md needs where there is no network.

Run ``python benchmarks/flame_moe_example.py FOLDER`` in a checkout of the repository. It writes

- ``FOLDER/tokenizer``: a tokenizer with as many entries as the one of FLAME-MoE (50,277), trained
  here on the source files of Python's standard library. It divides texts differently from the real
  one, so it is good for speed and for trying commands, not for accuracy;
- ``FOLDER/data``: questions that mean nothing, in the formats of the six data sets of the suite
  ``flame_moe``, for ``MOE_EVAL_DATA``.

A checkpoint with random weights comes from ``tests/megatron/oracle``.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from datasets import disable_progress_bars
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

N_ENTRIES = 50_277
END, PADDING = "<|endoftext|>", "<|padding|>"
N_TRAIN = 40
SUITE_DATA = "tests/hosts/lm_eval/flame_suite_data.py"


def local_texts(most_bytes: int) -> Iterator[str]:
    """Yield source files of the standard library, up to a size in bytes."""
    n_bytes = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" in path.parts or n_bytes > most_bytes:
            continue
        n_bytes += path.stat().st_size
        yield path.read_text("utf-8", errors="replace")


def write_tokenizer(folder: Path, n_entries: int = N_ENTRIES, most_bytes: int = 2**30) -> int:
    """Train a byte-level BPE tokenizer, write its files, and return its number of entries."""
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_entries,
        special_tokens=[END, PADDING],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    found.train_from_iterator(local_texts(most_bytes), trainer)
    folder.mkdir(parents=True)
    found.save(str(folder / "tokenizer.json"))
    names = {"bos_token": END, "eos_token": END, "unk_token": END}
    settings = {**names, "tokenizer_class": "GPTNeoXTokenizer", "add_prefix_space": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), "utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(names, indent=2), "utf-8")
    return int(found.get_vocab_size())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both folders, and print what is in them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--questions", type=int, default=40, help="of each task (default: 40)")
    parser.add_argument("--short", action="store_true", help="a small tokenizer, as a test")
    options = parser.parse_args(arguments)
    disable_progress_bars()
    suite = runpy.run_path(str(Path(__file__).resolve().parents[1] / SUITE_DATA))
    limits = (1_000, 2**20) if options.short else (N_ENTRIES, 2**30)
    n_entries = write_tokenizer(options.folder / "tokenizer", *limits)
    suite["write_suite_data"](options.folder / "data", N_TRAIN, options.questions)
    print(f"{options.folder / 'tokenizer'}: {n_entries:,} entries")
    tasks = len(suite["TASKS"])
    print(f"{options.folder / 'data'}: {options.questions} questions of each of {tasks} tasks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
