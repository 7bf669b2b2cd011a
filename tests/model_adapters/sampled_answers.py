"""Sampled answers of a model in lmms-eval, whose seed is the host's unless ours is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tests.hosts.lmms_eval.easy_requests import GENERATION, TASK, request

if TYPE_CHECKING:
    from moe_eval_plugin.hosts.lmms_eval.model import MoEModel

SAMPLED = {**GENERATION, "do_sample": True, "temperature": 2.0}
N_ASKED = 6


def sample(model: MoEModel, seed: int, *tasks: str, first: int = 0) -> list[str]:
    """Answer questions of each task as lmms-eval lets them be answered with ``--seed``."""
    torch.manual_seed(seed)
    asked = [
        request(i, task=task, generation=SAMPLED)
        for task in tasks or (TASK,)
        for i in range(first, N_ASKED)
    ]
    return [answer.text for answer in model.generate_until(asked)]


def repeat(model: MoEModel) -> set[str]:
    """Answer one question many times, as ``--repeats`` does."""
    torch.manual_seed(11)
    asked = [request(0, generation=SAMPLED)] * N_ASKED
    return {answer.text for answer in model.generate_until(asked)}
