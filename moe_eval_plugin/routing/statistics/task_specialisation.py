"""Specialisation by task: how far the experts of a layer serve some tasks more than others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.routing.statistics.tables import ExpertTasks, TaskSpecialisation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from moe_eval_plugin.routing.statistics.options import StudyOptions
    from moe_eval_plugin.routing.trace import LayerTrace, Tokens

    Array = NDArray[np.float64]
    Counts = NDArray[np.int64]


def task_specialisation(
    layer: LayerTrace, tokens: Tokens, questions: Counts, n_tasks: int, options: StudyOptions
) -> TaskSpecialisation | None:
    """Return the specialisation of a layer by task; ``None`` where its tokens are of one task.

    ``tokens`` and ``questions`` are those of the layer's rows. With the share ``s_et`` of task t in
    the choices of expert e, and ``q_t`` in all choices, the divergence of an expert is
    ``sum_t s_et ln(s_et / q_t)``. Experts with few tokens diverge by chance, and the tokens of a
    question are no independent draws; so each number comes with its mean where the tasks are
    shuffled among whole questions.
    """
    import numpy as np

    first_of, codes = np.unique(questions, return_index=True, return_inverse=True)[1:]
    task_of = tokens.task[first_of]
    if len(np.unique(task_of)) < 2:  # noqa: PLR2004  (two tasks to compare)
        return None
    cells = codes[:, None] * layer.num_choices + layer.chosen
    size = len(first_of) * layer.num_choices
    counted = np.bincount(cells.ravel(), minlength=size).reshape(-1, layer.num_choices)
    by_question = counted.astype(np.float32)  # exact for counts, and fast to multiply
    shares, divergence, information = _divergence(by_question, task_of, n_tasks)
    generator = np.random.default_rng(options.bootstrap.seed)
    shuffled = [
        _divergence(by_question, generator.permutation(task_of), n_tasks)
        for _ in range(options.n_task_shuffles)
    ]
    by_chance = np.mean([found[1] for found in shuffled], axis=0)
    counts = by_question.sum(axis=0, dtype=np.float64)
    return TaskSpecialisation(
        task_shares=tuple((np.bincount(tokens.task, minlength=n_tasks) / len(tokens)).tolist()),
        experts=tuple(
            _expert(expert, int(counts[expert]), shares[expert], divergence, by_chance)
            for expert in range(layer.num_choices)
        ),
        information=information,
        chance=float(np.mean([found[2] for found in shuffled])),
    )


def _expert(
    expert: int, n_tokens: int, shares: Array, divergence: Array, by_chance: Array
) -> ExpertTasks:
    if not n_tokens:
        return ExpertTasks(expert, 0, None, None, None)
    return ExpertTasks(
        expert=expert,
        tokens=n_tokens,
        shares=tuple(shares.tolist()),
        divergence=float(divergence[expert]),
        chance=float(by_chance[expert]),
    )


def _divergence(
    by_question: NDArray[np.float32], task_of: NDArray[np.int16], n_tasks: int
) -> tuple[Array, Array, float]:
    """Return the tasks' shares by expert ``(n, n_tasks)``, divergences ``(n,)``, and information.

    ``by_question`` has the choices of each expert in each question, ``(n_questions, n)``.
    """
    import numpy as np

    is_of = (task_of[:, None] == np.arange(n_tasks)).astype(np.float32)
    counts = (by_question.T @ is_of).astype(np.float64)
    of_expert = counts.sum(axis=1)
    shares = counts / np.maximum(of_expert, 1)[:, None]
    overall = counts.sum(axis=0) / counts.sum()
    divergence = _times_log(shares, overall).sum(axis=1)
    entropy = -_times_log(overall, np.ones(n_tasks)).sum()
    information = float((of_expert / counts.sum()) @ divergence / entropy)
    return shares, divergence, information


def _times_log(values: Array, over: Array) -> Array:
    """Return ``values * ln(values / over)``, 0 where a value is 0."""
    import numpy as np

    is_positive = values > 0
    ratios = np.divide(values, over, out=np.ones_like(values), where=is_positive)
    product: Array = values * np.log(ratios)
    return product
