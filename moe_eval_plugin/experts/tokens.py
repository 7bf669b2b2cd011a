"""Modality and phase of a token, and the kinds of token that a schedule distinguishes."""

from __future__ import annotations

from typing import Literal

ObservedModality = Literal["text", "image", "padding"]
OBSERVED_MODALITIES: tuple[ObservedModality, ...] = ("text", "image", "padding")
PHASES: tuple[Phase, ...] = ("prefill", "decode")
CONTENT: tuple[ObservedModality, ...] = ("text", "image")
TEXT, IMAGE, PADDING = range(len(OBSERVED_MODALITIES))
Modality = Literal["text", "image"]
Phase = Literal["prefill", "decode"]
# Image tokens belong to the prompt, so none is decoded.
TOKEN_KINDS: tuple[tuple[Modality, Phase], ...] = (
    ("text", "prefill"),
    ("image", "prefill"),
    ("text", "decode"),
)
