"""Copy the files of a tokenizer, after a check that its vocabulary fits the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.conversion.flame_moe.config import END_OF_TEXT
from moe_eval_plugin.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAIN = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
OTHERS = (
    *("added_tokens.json", "chat_template.jinja", "merges.txt", "special_tokens_map.json"),
    *("tokenizer.model", SETTINGS, "vocab.json"),
)
PUBLISHED = "EleutherAI/pythia-12b"
N_PUBLISHED = 50_277
# Megatron pads the vocabulary to a multiple of 128 for each of up to 8 ranks.
MOST_PADDING = 128 * 8
MISSING = (
    "There is no tokenizer in the checkpoint. FLAME-MoE uses that of "
    f"{PUBLISHED}: download its tokenizer.json, tokenizer_config.json and special_tokens_map.json "
    "into the folder, or convert with --tokenizer DIR."
)


@dataclass(frozen=True)
class Tokenizer:
    """Files of a tokenizer by name, the id that ends a text, and what to know of them."""

    files: Mapping[str, bytes]
    end: int = END_OF_TEXT
    notes: tuple[str, ...] = ()


def read_tokenizer(folder: Path | None, n_rows: int) -> Tokenizer:
    """Return the files of a tokenizer; none without a folder.

    ``n_rows`` is the padded vocabulary of the model. Raises ``InvalidArgumentError`` for a folder
    without ``tokenizer.json`` and for a vocabulary that is larger, ``DataError`` for a broken file.
    """
    if folder is None:
        return Tokenizer({}, notes=(MISSING,))
    if not (folder / MAIN).is_file():
        message = (
            f"--tokenizer {folder} has no {MAIN}. Pass a folder with the tokenizer of {PUBLISHED}: "
            f"`hf download {PUBLISHED} {MAIN} {SETTINGS} special_tokens_map.json --local-dir DIR`."
        )
        raise InvalidArgumentError(message)
    from tokenizers import Tokenizer as Loaded

    try:
        loaded = Loaded.from_file(str(folder / MAIN))
    except Exception as error:
        # The library raises plain exceptions.
        message = f"{folder / MAIN} is not a tokenizer: {error!s:.200}. Download it again."
        raise DataError(message) from error
    ids = loaded.get_vocab(with_added_tokens=True)
    largest = max(ids.values(), default=-1)
    if largest >= n_rows:
        message = (
            f"The tokenizer of {folder} has ids up to {largest}, and the model has {n_rows} rows. "
            f"It is not the one of this model, which is that of {PUBLISHED} for FLAME-MoE."
        )
        raise InvalidArgumentError(message)
    names = [MAIN, *(name for name in OTHERS if (folder / name).is_file())]
    files = {name: (folder / name).read_bytes() for name in names}
    return Tokenizer(files, _end(files, ids), _notes(folder, largest + 1, n_rows))


def _notes(folder: Path, n_entries: int, n_rows: int) -> tuple[str, ...]:
    """Return a note on a vocabulary that padding does not make as large as that of the model."""
    if n_rows - n_entries < MOST_PADDING:
        return ()
    note = (
        f"The tokenizer of {folder} has {n_entries:,} entries, and the model {n_rows:,} rows, more "
        f"than padding adds. With another tokenizer than in training its answers mean nothing. "
        f"That of FLAME-MoE, {PUBLISHED}, has {N_PUBLISHED:,}."
    )
    return (note,)


def _end(files: Mapping[str, bytes], ids: Mapping[str, int]) -> int:
    """Return the id that ends a text; that of FLAME-MoE's tokenizer where it is not stated."""
    try:
        settings: Any = json.loads(files.get(SETTINGS, b"{}"))
        token = settings.get("eos_token")
    except (ValueError, AttributeError) as error:
        message = f"{SETTINGS} of the tokenizer is not a JSON object. Download it again."
        raise DataError(message) from error
    text = token.get("content") if isinstance(token, dict) else token
    return ids.get(text, END_OF_TEXT) if isinstance(text, str) else END_OF_TEXT
