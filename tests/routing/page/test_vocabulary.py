from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError

for name in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(name, reason="the extra report is not installed")

from moe_eval_plugin.routing.page.vocabulary import (  # noqa: E402
    Vocabulary,
    read_vocabulary,
    shown_tokens,
)
from moe_eval_plugin.routing.statistics.study import study  # noqa: E402
from tests.routing.page.known_traces import FIRST, SECOND, known_trace  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


def test_spaces_are_visible_and_unknown_tokens_have_numbers() -> None:
    found = Vocabulary({1: " the", 2: "\n"})

    assert [found.text(number) for number in (1, 2, 3)] == ["␣the", "↵", "#3"]


def test_tokens_of_the_tables_are_shown() -> None:
    assert shown_tokens(study(known_trace())) == (FIRST, SECOND)


def test_texts_are_those_of_the_models_tokenizer() -> None:
    from transformers import AutoTokenizer

    from moe_eval_plugin.models.demo import MODEL_PATH

    tokenizer = AutoTokenizer.from_pretrained(MODEL_PATH)
    (number,) = tokenizer.encode(" shape", add_special_tokens=False)

    found = read_vocabulary("demo", None, [number, 10**6])

    assert found.texts == {number: " shape"}


def test_a_tokenizer_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    for source in (str(tmp_path), "nobody/nothing"):
        with pytest.raises(DataError, match=r"no tokenizer on this machine .* --tokenizer"):
            read_vocabulary(source, None, [1])
