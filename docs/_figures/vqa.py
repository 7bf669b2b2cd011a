"""Figures on how VQA accuracy is computed, and where the scoring modes differ."""

from __future__ import annotations

from statistics import fmean

from svg import Box, Drawing

from moe_eval_plugin.vqa.scoring import PLAIN_MODES, scoring_mode, vqa_accuracy

PREDICTION, ANSWERS = "red", ("red",) * 3 + ("pink",) * 7
STEP = 40
FULL_SCORE = 3
# A prediction, and the answer that it is compared with; the answers differ among themselves where
# another one is named.
CASES = (
    ("Yes", "yes", None),
    ("the beach", "the beach", "sand"),
    ("red,blue", "red blue", "green"),
    ("1,,000", "1000", "10"),
    ("that's", "thats", "this"),
)
SHORT_NAMES = {
    "official": "official",
    "official-2016": "2016",
    "lmms-vqav2": "vqav2",
    "lmms-okvqa": "okvqa",
}


def ten_rounds() -> str:
    """Draw the ten rounds in which one answer each is left out, and their mean."""
    score = vqa_accuracy(PREDICTION, ANSWERS, scoring_mode("official"))
    rounds = [
        min(1.0, (ANSWERS[:i] + ANSWERS[i + 1 :]).count(PREDICTION) / FULL_SCORE)
        for i in range(len(ANSWERS))
    ]
    assert abs(fmean(rounds) - score) < 1e-9  # noqa: PLR2004, S101
    drawing = Drawing(
        420,
        226,
        "The prediction red and ten answers, three of which are red and seven pink. If a red "
        "answer is left out, two matches remain and the round scores two thirds. If a pink answer "
        f"is left out, the round scores 1. The mean of the ten rounds is {score:.1f}.",
    )
    drawing.write(12, 28, f"Prediction: {PREDICTION}", style="strong")
    drawing.write(12, 62, "Answers of ten people")
    drawing.write(12, 136, "Score of the round that leaves this answer out")
    for number, (answer, of_round) in enumerate(zip(ANSWERS, rounds, strict=True)):
        left = 11 + number * STEP
        is_match = answer == PREDICTION
        drawing.box(Box(left, 72, 37, 34), answer, edge="green" if is_match else "line")
        shown = "1" if of_round == 1 else f"{round(of_round * FULL_SCORE)}/{FULL_SCORE}"
        drawing.write(left + 18, 162, shown, anchor="middle", style="strong")
    drawing.write(12, 206, f"Accuracy: the mean, {score:.1f}", style="strong")
    return drawing.text()


def modes() -> str:
    """Draw which scoring modes count an answer as equal to a prediction."""
    drawing = Drawing(
        420,
        252,
        "Five predictions and what the four modes score for them. Yes against ten times yes "
        "scores 0 in official and 1 elsewhere. An answer with an article scores 0 in "
        "official-2016. red,blue against red blue scores 0 in lmms-okvqa. 1,,000 against 1000 "
        "scores 0 in both official modes. that's against thats scores 0 in official-2016 and "
        "lmms-okvqa.",
    )
    drawing.write(12, 28, "prediction", style="soft")
    drawing.write(100, 28, "answer", style="soft")
    places = {mode.name: 216 + number * 57 for number, mode in enumerate(PLAIN_MODES)}
    for name, x in places.items():
        drawing.write(x, 28, SHORT_NAMES[name], anchor="middle", style="soft")
    for row, (prediction, answer, other) in enumerate(CASES):
        y = 64 + row * 42
        drawing.curve([(12, y - 26), (408, y - 26)], colour="line")
        drawing.write(12, y, prediction)
        drawing.write(100, y, answer)
        given = [answer] * 10 if other is None else [answer] * 6 + [other] * 4
        for mode in PLAIN_MODES:
            score = vqa_accuracy(prediction, given, mode)
            colour = "green" if score == 1 else "red"
            x = places[mode.name]
            drawing.write(x, y, f"{score:g}", anchor="middle", style=f"{colour} strong")
    return drawing.text()


FIGURES = {"vqa-ten-answers": ten_rounds, "vqa-modes": modes}
