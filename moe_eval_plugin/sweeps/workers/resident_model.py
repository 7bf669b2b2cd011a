"""``moe_hf`` for a sweep: the weights are loaded once, and each point sets its own k.

Inputs are encoded before anything is measured; what memory does not take is encoded again at each
point, and the clock is stopped meanwhile. So no point does work that another one is spared. The
seconds of encoding are reported apart, and are part of the time to the first token and of the
latency of an answer, as they were when the inputs were encoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.exit_codes import user_errors
from moe_eval_plugin.hosts.shared.arguments import join_arguments
from moe_eval_plugin.model_adapters.hf_arguments import parse_arguments
from moe_eval_plugin.model_adapters.lmms_eval_hf import MoEHF

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.hardware.meter import HardwareMeter
    from moe_eval_plugin.sweeps.plan import SweepPoint
    from moe_eval_plugin.sweeps.workers.progress import Progress


class ResidentMoEHF(MoEHF):
    """The model of one sweep; the host gets it at each point, and ``progress`` what it does."""

    progress: Progress | None = None

    @user_errors()
    def switch_to(self, arg_string: str, additional_config: dict[str, Any] | None = None) -> None:
        """Set the k, the rule and the seed that these arguments of the model name."""
        arguments = join_arguments(arg_string, additional_config)
        engine_options, options = parse_arguments(arguments)
        self.set_experts(engine_options, options.seed)

    def verify_at(self, point: SweepPoint, jobs: Sequence[Job]) -> None:
        """Set the k of a point, and observe it on the first of the jobs.

        Raises ``OverrideNotEffectiveError`` where tokens use another one.
        """
        self.engine.set_experts(point.experts_k, point.experts_policy, point.renorm)
        self._observe(jobs)

    def meter(self) -> HardwareMeter | None:
        """Build a meter of memory and energy; ``None`` with ``profile=off``."""
        return self._meter()

    def clean(self) -> None:
        """Keep the weights: the host calls this at the end of each point."""

    def _prepare(self, jobs: Sequence[Job]) -> None:
        if self.progress is not None and jobs:
            self.progress.doing(f"encoding {len(jobs):,} questions")
        super()._prepare(jobs)

    def _verify(self, jobs: Sequence[Job]) -> None:
        if self.progress is not None:
            self.progress.doing("verifying the experts that tokens use")
        super()._verify(jobs)
        if self.progress is not None:
            self.progress.verified(self._experts)
