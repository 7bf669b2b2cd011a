"""Recognise messages about failed requests that hosts write in place of answers."""

from __future__ import annotations

import re

# What the models of lmms-eval 0.7 write where a request failed, was blocked or was not made.
FAILURE = re.compile(
    r"""
    \[(?:LMMS_EVAL_[A-Z_]+\b|SAFETY_BLOCKED:|GENERATION_FAILED\]|ERROR\]\ )
    | __padding_only__$
    | Traceback\ \(most\ recent\ call\ last\):
    | Video\ .*\ (?:can\ not\ load|generate\ failed),\ check\ the\ source$
    """,
    re.VERBOSE | re.DOTALL,
)
NO_ANSWER = "null"
FAILURE_CHARACTERS = 200


def failure_in(answer: object) -> str | None:
    """Return the message that a host wrote in place of an answer, or ``None`` for an answer.

    ``answer`` is a text, or lists of texts; ``None`` is a failure too, named ``NO_ANSWER``. Other
    values, log-probabilities for instance, are answers. Models that write an empty text after an
    error cannot be told from models that answer nothing.
    """
    if answer is None:
        return NO_ANSWER
    if isinstance(answer, list | tuple):
        return next(filter(None, map(failure_in, answer)), None)
    found = isinstance(answer, str) and FAILURE.match(answer.strip())
    return str(answer).strip()[:FAILURE_CHARACTERS] if found else None
