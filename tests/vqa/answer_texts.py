from __future__ import annotations

import string

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from moe_eval_plugin.vqa.normalise import (
    CONTRACTIONS,
)

MEGABYTE = 1_000_000


words = st.sampled_from(
    ["red", "Red.", "the red", "blue", "2", "two", "dont", "don't", "", "1,000", "1,,000", "dog's"]
)


# Few characters, so that the rules meet: marks next to spaces, commas in numbers, periods.
tangles = st.text(alphabet="aT1٤,.;- \n\t'?s", max_size=12)


texts = st.one_of(words, tangles, st.text(alphabet=string.printable + "é٤", max_size=20))


# A busy machine is no fault of the code.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def is_digit(character: str, *, of_any_script: bool) -> bool:
    """Whether it is a digit: in the official script, which runs under Python 2, only of ASCII."""
    return character.isdecimal() and (of_any_script or character.isascii())


def has_number_with(text: str, *, several_commas: bool) -> bool:
    """Look for a digit, a comma or several, and a digit, one place after the other.

    The scorers that take several commas run under Python 3.
    """
    for place, character in enumerate(text):
        after = place + 1
        while several_commas and text[after : after + 2] == ",,":
            after += 1
        if is_digit(character, of_any_script=several_commas) and text[after : after + 1] == ",":
            return is_digit(
                text[after + 1 : after + 2], of_any_script=several_commas
            ) or has_number_with(text[place + 1 :], several_commas=several_commas)
    return False


def literal_form(
    answer: str, *, several_commas: bool = False, punctuation_only: bool = False
) -> str:
    """State the rules one by one and character by character, however slow that is."""
    text = answer
    if not punctuation_only:
        text = "".join(" " if character in "\n\t" else character for character in text).strip()
    in_number = has_number_with(text, several_commas=several_commas)
    cleaned = ""
    for character in text:
        if character not in ';/[]"{}()=+\\_-><@`,?!':
            cleaned += character
        elif not in_number and character + " " not in text and " " + character not in text:
            cleaned += " "
    without_periods = ""
    n_removed = 0
    for place, character in enumerate(cleaned):
        following = cleaned[place + 1 : place + 2]
        in_a_number = is_digit(following, of_any_script=several_commas)
        if character == "." and not in_a_number and n_removed < 32:
            n_removed += 1
        else:
            without_periods += character
    if punctuation_only:
        return without_periods
    return " ".join(
        literal_word(word)
        for word in without_periods.lower().split()
        if word not in ("a", "an", "the")
    )


def literal_word(word: str) -> str:
    numbers = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
    ]
    if word == "none":
        return "0"
    if word in numbers:
        return str(numbers.index(word))
    if word == "somebody'd":
        return "somebodyd"
    for contraction in CONTRACTIONS.split():
        for place, character in enumerate(contraction):
            if character == "'" and word == contraction[:place] + contraction[place + 1 :]:
                return contraction
    return word


def literal_form_of_mmf(answer: str) -> str:
    text = "".join(character for character in answer.lower() if character not in ",?")
    return literal_form(" 's".join(text.split("'s")), several_commas=True)
