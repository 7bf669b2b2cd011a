"""Check the requested experts against a model's configuration, once and before any weight."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from moe_eval_plugin.engines.generation import check_generation_config
from moe_eval_plugin.errors import InvalidArgumentError, InvalidExpertCountError, UserError
from moe_eval_plugin.experts.module_path import layer_number
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.schedule import constant_schedule
from moe_eval_plugin.experts.verification import VerifiedOverride
from moe_eval_plugin.models import checkpoint, parameters
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.override.policies.parsing import parse_rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import PretrainedConfig

    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.experts.schedules.routing_rule import RoutingRule
    from moe_eval_plugin.experts.schedules.schedule import ResolvedSchedule
    from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord
    from moe_eval_plugin.models.costs.cost_model import LanguageModelCost


class ModelOptions(Protocol):
    """The options that name a model, whatever its engine."""

    @property
    def pretrained(self) -> str:
        """``demo``, a folder, or a hub id."""

    @property
    def revision(self) -> str | None:
        """Branch, tag or commit on the hub."""

    @property
    def trust_remote_code(self) -> bool:
        """Whether code that comes with the model may run."""


class ExpertOptions(ModelOptions, Protocol):
    """The options that name a model and its experts, whatever its engine."""

    @property
    def experts_k(self) -> object:
        """A number of experts, a schedule, or ``None`` for the published k."""

    @property
    def experts_policy(self) -> str | None:
        """The rule that drops experts, if any."""

    @property
    def renorm(self) -> str | None:
        """The rule that scales the weights of the experts that are kept."""


@dataclass(frozen=True, eq=False)
class ModelConfig:
    """The configuration of a model, read once; schedules of any number are checked against it."""

    pretrained: str
    """The name it was read by: ``demo``, a folder, or a hub id."""
    revision: str | None
    """The branch, tag or commit that was requested."""
    trust_remote_code: bool
    """Whether code that comes with the model may run."""
    config: PretrainedConfig
    """The configuration, as transformers reads it."""
    description: MoEDescription
    """What the configuration says of routed experts."""

    @classmethod
    def load(cls, options: ModelOptions) -> ModelConfig:
        """Read the configuration; raises what ``load_config`` and ``describe`` raise.

        The checkpoint's generation settings are checked with it.
        """
        name, revision, trusts = options.pretrained, options.revision, options.trust_remote_code
        config = checkpoint.load_config(name, revision, trust_remote_code=trusts)
        check_generation_config(name, revision)
        return cls(name, revision, trusts, config, describe(config))

    def is_of(self, options: ModelOptions) -> bool:
        """Whether these options name the same model."""
        ours = (self.pretrained, self.revision, self.trust_remote_code)
        return ours == (options.pretrained, options.revision, options.trust_remote_code)

    @cached_property
    def moe_layers(self) -> tuple[int, ...]:
        """Numbers of the decoder layers with routed experts.

        The model is built on the meta device when this is first read, which takes seconds for a
        large model. Where transformers cannot build it they are those that its configuration
        states; ``UserError`` if it states none.
        """
        if not self.description.is_moe:
            return ()
        try:
            trusts = self.trust_remote_code
            counts = parameters.count_parameters(self.config, trust_remote_code=trusts)
        except UserError:
            if stated := parameters.stated_layers(self.config):
                return stated
            raise
        found = (layer_number(layer.path) for layer in counts.layers)
        return tuple(sorted({number for number in found if number is not None}))

    @cached_property
    def cost(self) -> LanguageModelCost | None:
        """Cost of a token at any k; ``None`` where it is not known.

        The model is built on the meta device when this is first read, as for ``moe_layers``.
        """
        from moe_eval_plugin.models.inspection.parts import built_parts

        if not self.description.is_moe:
            return None
        trusts = self.trust_remote_code
        return built_parts(self.config, self.description, trust_remote_code=trusts).cost

    def request(
        self, experts_k: object, experts_policy: str | None = None, renorm: str | None = None
    ) -> ExpertRequest:
        """Check experts against this configuration.

        Raises what ``parse_experts_k``, ``parse_rule``, ``RoutingRule.check_layers`` and
        ``ExpertSchedule.resolve`` raise, and ``InvalidArgumentError`` for files of ``moe-eval
        tune`` of both.
        """
        rule = parse_rule(experts_policy, renorm)
        schedule = parse_experts_k(experts_k)
        if rule.tuning and schedule and schedule.tuning:
            message = (
                f"experts_k={experts_k} and experts_policy={experts_policy} are not possible "
                "together: each was found without the other. Pass one of them."
            )
            raise InvalidArgumentError(message)
        if schedule is None and not rule.is_native:
            # A rule alone works at the baseline k.
            schedule = constant_schedule(self.description.num_experts_per_tok)
        if schedule is None:
            return ExpertRequest(self, rule, None)
        layers = self.moe_layers if schedule.names_layers else None
        resolved = schedule.resolve(self.description, layers)
        if rule.names_layers:
            rule.check_layers(len(self.moe_layers), self.description.model_type)
        return ExpertRequest(self, rule, resolved)


@dataclass(frozen=True, eq=False)
class ExpertRequest:
    """The experts requested of a model, checked against its configuration.

    ``resolved`` is ``None`` for a model as published.
    """

    model: ModelConfig
    rule: RoutingRule
    resolved: ResolvedSchedule | None

    @property
    def description(self) -> MoEDescription:
        """What the model's configuration says of routed experts."""
        return self.model.description

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user must know of this model's k; empty for a model as published."""
        return self.description.warnings if self.resolved else ()

    def require_decode(self, tasks: Iterable[str]) -> None:
        """Raise ``InvalidExpertCountError`` for a k of decode, because these tasks decode nothing.

        Nothing could verify it, and a result would be named by a k that no token used.
        """
        if self.resolved is not None and self.resolved.differs_by_phase:
            message = (
                f"experts_k={self.resolved.schedule.text} sets a k of decode, and nothing is "
                f"decoded in {', '.join(tasks)}: given texts are scored, which is prefill. Use "
                "the k of prefill alone there, in a command of its own."
            )
            raise InvalidExpertCountError(message)

    @property
    def routed_flop_share(self) -> float | None:
        """Share of a prompt's FLOPs in routed experts at this k (rho), 0 to 1.

        Of a prompt of as many tokens as in ``moe-eval inspect``. ``None`` where the cost is not
        known, and where tokens use different numbers of experts: by layer, by a policy, or because
        some experts compute nothing.
        """
        from moe_eval_plugin.models.costs.cost_at_k import Scenario

        description, resolved = self.description, self.resolved
        k = resolved.num_experts_per_tok if resolved else description.num_experts_per_tok
        cost = self.model.cost
        if not k or cost is None or not self.rule.is_native or description.num_zero_experts:
            return None
        return cost.prefill_flops(k, Scenario().context_length).routed_flop_share

    @property
    def tuning(self) -> TuningRecord | None:
        """Where the schedule or the policy comes from; ``None`` if ``tune`` did not find it."""
        schedule = self.resolved.schedule if self.resolved else None
        return self.rule.tuning or (schedule.tuning if schedule else None)

    def to_provenance(self) -> dict[str, Any]:
        """Return what a record stores of the request, as plain JSON data."""
        tuning = self.tuning
        return {
            **({"tuning": tuning.to_dict()} if tuning else {}),
            "routed_flop_share": self.routed_flop_share,
            "experts_k": self.resolved.schedule.text if self.resolved else None,
            "experts_policy": self.rule.policy_text,
            "renorm": self.rule.renorm,
            "warnings": list(self.warnings),
        }


def check_request(options: ExpertOptions, model: ModelConfig | None = None) -> ExpertRequest:
    """Check everything that a configuration can tell about k, before a weight is read.

    ``model`` is the configuration if it was read before; that of another model is not used.
    Raises what ``ModelConfig.load`` and ``ModelConfig.request`` raise.
    """
    # Before the configuration: a checkpoint's own code may run when that is read.
    parse_rule(options.experts_policy, options.renorm)
    parse_experts_k(options.experts_k)
    if model is None or not model.is_of(options):
        model = ModelConfig.load(options)
    return model.request(options.experts_k, options.experts_policy, options.renorm)


def unobserved(request: ExpertRequest) -> VerifiedOverride:
    """Return the requested k of a run in which no token was seen: its observed k is ``None``."""
    resolved = request.resolved
    return VerifiedOverride(
        requested=resolved.num_experts_per_tok if resolved else None,
        baseline=request.description.num_experts_per_tok or None,
        observed=None,
        n_layers=0,
        n_text_tokens=0,
        n_image_tokens=0,
        experts_k=resolved.schedule.text if resolved else None,
        experts_policy=request.rule.policy_text,
        renorm=request.rule.renorm,
    )
