"""Modality and phase of a token, and the kinds of token that a schedule distinguishes."""

from __future__ import annotations

from typing import Literal, get_args

Modality = Literal["text", "image"]
ObservedModality = Literal["text", "image", "padding"]
Phase = Literal["prefill", "decode"]
CONTENT: tuple[Modality, ...] = get_args(Modality)
OBSERVED_MODALITIES: tuple[ObservedModality, ...] = get_args(ObservedModality)
TEXT, IMAGE, PADDING = range(len(OBSERVED_MODALITIES))
PHASES: tuple[Phase, ...] = get_args(Phase)
# Image tokens belong to the prompt, so none is decoded.
TOKEN_KINDS: tuple[tuple[Modality, Phase], ...] = (
    ("text", "prefill"),
    ("image", "prefill"),
    ("text", "decode"),
)
