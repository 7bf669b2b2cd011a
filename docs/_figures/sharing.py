"""Figures on how questions share an image."""

from __future__ import annotations

from svg import Box, Drawing

QUESTIONS = ("question 1", "question 2", "question 3")
LEFT, PREFIX, SUFFIX, HEIGHT, STEP = 14, 200, 100, 30, 38


def shared() -> str:
    """Draw what the model reads for three questions, alone and with their image shared."""
    drawing = Drawing(
        420,
        330,
        "Three questions about one image. Alone, each of three prompts goes through the model as "
        "system prompt, image and question. Shared, system prompt and image go through once, and "
        "each question continues from the keys and values of this prefix.",
    )
    drawing.write(LEFT, 24, "Nothing shared", style="strong")
    for row, question in enumerate(QUESTIONS):
        top = 36 + row * STEP
        drawing.box(Box(LEFT, top, PREFIX, HEIGHT), "system prompt, image", edge="blue")
        drawing.box(Box(LEFT + PREFIX, top, SUFFIX, HEIGHT), question, edge="orange")
    drawing.write(LEFT, 184, "Shared", style="strong")
    middle = 196 + STEP + HEIGHT / 2
    box = Box(LEFT, middle - HEIGHT / 2, PREFIX, HEIGHT)
    drawing.box(box, "system prompt, image", edge="blue")
    drawing.write(LEFT + PREFIX / 2, middle + 34, "prefix, computed once", anchor="middle")
    for row, question in enumerate(QUESTIONS):
        top = 196 + row * STEP
        drawing.arrow((LEFT + PREFIX + 4, middle), (LEFT + PREFIX + 76, top + HEIGHT / 2))
        drawing.box(Box(LEFT + PREFIX + 80, top, SUFFIX, HEIGHT), question, edge="orange")
    drawing.write(LEFT + PREFIX + 130, 324, "suffixes, one batch", anchor="middle")
    return drawing.text()


FIGURES = {"shared-image": shared}
