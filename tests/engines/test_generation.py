"""The generation arguments of a task, as ``generate`` takes them."""

from __future__ import annotations

import pytest

from moe_eval_plugin.engines.generation import read_settings
from moe_eval_plugin.errors import InvalidArgumentError


@pytest.mark.parametrize("word", ["no", "off", "false", False, 0])
def test_sampling_is_off_by_a_word_that_means_no(word: object) -> None:
    assert not read_settings({"do_sample": word, "temperature": 0.7}, 8).samples
    assert read_settings({"do_sample": "yes", "temperature": 0.7}, 8).samples


def test_another_word_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="do_sample=maybe"):
        read_settings({"do_sample": "maybe"}, 8)


def test_stop_strings_of_a_command_line_are_a_list() -> None:
    assert read_settings({"until": '["\\n", "END"]'}, 8).until == ("\n", "END")
    assert read_settings({"until": "[END]"}, 8).until == ("[END]",)
    assert read_settings({"until": ["a", ""]}, 8).until == ("a",)
