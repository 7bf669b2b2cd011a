"""Figures on how k is set, how it is observed, and how a setting can miss the model."""

from __future__ import annotations

from svg import Box, Drawing

STEPS = (
    ("1  Check", "does the model allow this k?"),
    ("2  Load", "are all weights there?"),
    ("3  Set", "is there a router to set?"),
    ("4  Observe", "count the experts of each token"),
    ("5  Compare", "did every token use this k?"),
    ("6  Run", "answer and time the questions"),
    ("7  Restore", "put every old value back"),
)
TOP, STEP, HEIGHT = 14, 58, 38
STEP_WIDTH = 104


def override_life() -> str:
    """Draw the seven steps of an override, with the two ways in which it ends early."""
    drawing = Drawing(
        480,
        420,
        "Seven steps from top to bottom: check, load, set, observe, compare, run, restore. A "
        "request that fails steps 1 or 2 is refused with exit code 2. If no router can be set, or "
        "a token used another k, the run stops with exit code 3 and writes no results.",
    )
    boxes = [Box(16, TOP + number * STEP, STEP_WIDTH, HEIGHT) for number in range(len(STEPS))]
    for number, (box, (name, question)) in enumerate(zip(boxes, STEPS, strict=True)):
        is_run = name.endswith("Run")
        drawing.box(box, edge="green" if is_run else "line")
        drawing.write(box.x + 12, box.centre[1] + 5, name, style="strong")
        drawing.write(box.x + STEP_WIDTH + 12, box.centre[1] + 5, question, style="soft")
        if number:
            above = boxes[number - 1]
            drawing.arrow((box.centre[0], above.y + HEIGHT), (box.centre[0], box.y), colour="green")
    _ending(drawing, boxes, (0, 1), "no\n\nrefused:\nexit code 2")
    _ending(drawing, boxes, (2, 4), "no\n\nstop:\nexit code 3,\nno results")
    return drawing.text()


def _ending(drawing: Drawing, boxes: list[Box], rows: tuple[int, int], label: str) -> None:
    first, last = (boxes[row] for row in rows)
    end = drawing.box(Box(366, first.y, 102, last.y + HEIGHT - first.y), label, edge="red")
    for row in rows:
        y = boxes[row].centre[1]
        drawing.arrow((338, y), (end.x, y), colour="red")


def experts_call() -> str:
    """Draw the way of a choice from the settings to the experts, and where it is read."""
    drawing = Drawing(
        480,
        250,
        "A configuration and attributes may or may not reach the router. The router passes its "
        "choice to the experts, as a table of expert numbers and weights for each token. The "
        "choice is counted in this call.",
    )
    settings = drawing.box(Box(16, 14, 120, 46), "configuration,\nattributes")
    router = drawing.box(Box(16, 116, 120, 54), "router")
    table = drawing.box(Box(176, 102, 150, 82), edge="green")
    experts = drawing.box(Box(366, 116, 98, 54), "experts")
    for row, line in enumerate(("experts  5  2  9  1", "weights .4 .3 .2 .1")):
        drawing.write(table.centre[0], 137 + 24 * row, line, anchor="middle")
    drawing.write(table.centre[0], 92, "one row for each token", anchor="middle", style="soft")
    drawing.arrow((76, settings.y + 46), (76, router.y))
    drawing.write(88, 93, "read?", style="red strong")
    drawing.arrow((136, 143), (table.x, 143))
    drawing.arrow((326, 143), (experts.x, 143))
    drawing.arrow((table.centre[0], 226), (table.centre[0], 186), colour="green")
    drawing.write(
        table.centre[0],
        243,
        "counted here: what the model computes with",
        anchor="middle",
        style="green strong",
    )
    return drawing.text()


def wrong_level() -> str:
    """Draw a key at the top of a configuration that nothing reads, and the one that is read."""
    drawing = Drawing(
        480,
        236,
        "The configuration of a vision-language model. A key num_experts_per_tok of 2 at its top "
        "is stored, and nothing reads it. The routers read the same key, with 8, in the part "
        "text_config. Tokens use 8 experts.",
    )
    drawing.box(Box(14, 34, 292, 152), fill="paper")
    drawing.write(14, 24, "config.json", style="strong")
    drawing.write(28, 62, "num_experts_per_tok: 2", style="red strong")
    drawing.box(Box(28, 82, 264, 90))
    drawing.write(42, 108, "text_config", style="strong")
    drawing.write(42, 142, "num_experts_per_tok: 8", style="green strong")
    drawing.write(330, 62, "nothing reads this", style="red")
    drawing.curve([(240, 57), (322, 57)], colour="red", dash="4 4")
    router = drawing.box(Box(366, 112, 98, 50), "routers", edge="green")
    drawing.arrow((254, 137), (router.x, 137), colour="green")
    drawing.write(464, 186, "tokens use 8", anchor="end", style="green strong")
    drawing.write(
        14, 218, "No error, no warning: the results look like those of k=2.", style="soft"
    )
    return drawing.text()


FIGURES = {
    "override-life": override_life,
    "experts-call": experts_call,
    "wrong-level": wrong_level,
}
