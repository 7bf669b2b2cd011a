"""Models of lm-eval that know what they were built from, for records and for caches."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

import torch
from lm_eval.api.model import LM
from lm_eval.utils import simple_parse_args_string

from moe_eval_plugin.engines.answer_digest import settings_of_arguments
from moe_eval_plugin.engines.expert_request import unobserved
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.hosts.exit_codes import user_errors
from moe_eval_plugin.hosts.lm_eval.evaluation.answer_cache import HOST, NO_SPEED, refuse_unkeyed
from moe_eval_plugin.hosts.lm_eval.model_arguments import join_arguments
from moe_eval_plugin.results.record import RunRecord
from moe_eval_plugin.results.versions import versions_with

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lm_eval.api.model import CacheHook

    from moe_eval_plugin.engines.expert_request import ExpertRequest


class LMAdapter(LM):
    """A model of the host that knows what it was built from; a subclass knows its engine.

    A subclass sets ``model_arguments``: all arguments that it was built from, and none for a model
    that a program has loaded.
    """

    model_arguments: Mapping[str, Any]

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: Mapping[str, Any], additional_config: Mapping[str, Any] | None = None
    ) -> Self:
        """Build the model from ``--model_args`` and the host's own options."""
        return cls(**join_arguments(arg_dict, additional_config))

    @classmethod
    def create_from_arg_string(
        cls, arg_string: str, additional_config: Mapping[str, Any] | None = None
    ) -> Self:
        """Build the model from ``--model_args`` as text and the host's own options."""
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    @classmethod
    def check_arguments(
        cls, model_args: Mapping[str, Any], of_the_host: Mapping[str, Any] | None = None
    ) -> None:
        """Raise ``UserError`` for arguments that no model can be built from; nothing is loaded.

        A device among the options of the host is one that the user named, never its default.
        """
        device = (of_the_host or {}).get("device")
        joined = join_arguments(model_args, of_the_host)
        cls._check(joined if device is None else {**joined, "device": device})

    @classmethod
    @abstractmethod
    def _check(cls, arguments: dict[str, Any]) -> None:
        """Check the keyword arguments of the class, and k against the model's configuration."""

    @property
    @abstractmethod
    def engine_request(self) -> ExpertRequest:
        """The request for experts that is in force."""

    @abstractmethod
    def _engine_provenance(self) -> dict[str, Any]:
        """Describe the engine: ``batch_size``, ``hardware`` and everything that only it has."""

    @user_errors()
    def set_cache_hook(self, cache_hook: CacheHook) -> None:
        """Use the host's cache; one whose keys do not hold the model and its k is refused."""
        refuse_unkeyed(cache_hook.dbdict)
        super().set_cache_hook(cache_hook)

    def answer_settings(self) -> dict[str, Any]:
        """Return what all answers of this model depend on; see ``settings_of_arguments``.

        Raises ``UserError`` where that is not known.
        """
        if not self.model_arguments:
            message = (
                "The answers of a model that a program has loaded cannot be distinguished "
                "from those of another one. Run without use_cache."
            )
            raise UserError(message)
        settings = settings_of_arguments(self.model_arguments, self._provenance())
        return {**settings, "seed": torch.initial_seed()}

    def unasked_record(self, task: str) -> RunRecord:
        """Return the record of a task whose answers all came from a cache: k was not observed."""
        return RunRecord(task, unobserved(self.engine_request), NO_SPEED, self._provenance())

    def _provenance(self) -> dict[str, Any]:
        """Describe model, engine and settings, as plain JSON data."""
        engine = self._engine_provenance()
        return {
            "host": HOST,
            **self.engine_request.to_provenance(),
            "n_ranks": self.world_size,
            "seed": torch.initial_seed(),
            **engine,
            "versions": versions_with(HOST, engine["versions"]),
        }
