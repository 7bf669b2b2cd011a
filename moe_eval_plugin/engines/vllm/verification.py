"""Verify k in vLLM's workers: what layers and kernels store, and what tokens use."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.vllm.options import k_by_layer
from moe_eval_plugin.engines.vllm.set_k import k_of_layer
from moe_eval_plugin.errors import OverrideError
from moe_eval_plugin.experts.module_path import layer_number
from moe_eval_plugin.experts.observation import Observation
from moe_eval_plugin.experts.verification import VerifiedOverride, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from moe_eval_plugin.engines.expert_request import ExpertRequest

logger = logging.getLogger(__name__)

MAX_IN_MESSAGE = 4


class Workers:
    """The workers of a running vLLM, called through ``call`` (its ``collective_rpc``).

    Workers of tensor parallelism hold parts of the same layers, those of pipeline parallelism
    other layers; each answers for its own.
    """

    def __init__(
        self, call: Callable[[str], Sequence[Any]], request: ExpertRequest, verification: str
    ) -> None:
        self._call = call
        self._request = request
        self._verification = verification
        self.layers: list[dict[str, Any]] = []

    @property
    def kernels(self) -> list[str]:
        """The names of the kernels that run the routed experts."""
        return list(dict.fromkeys(layer["kernel"] for layer in self.layers))

    def check_layers(self) -> None:
        """Compare the k that every MoE layer and its kernels store with the requested one.

        Raises ``OverrideError`` if a layer is missing or holds another k, or if k is not part of
        what vLLM's compile cache goes by.
        """
        self.layers = [layer for rank in self._call("moe_eval_layers") for layer in rank]
        table = k_by_layer(self._request)
        if table is None:
            return
        for config in self._call("moe_eval_config"):
            if config["table"] != table or not config["is_in_compile_hash"]:
                message = (
                    f"vLLM's configuration has {config['table']} where {table} was requested, or "
                    "leaves it out of its compile hash, so compiled code of another k could be "
                    "used. Report this with the version of vLLM; --model moe_hf is not concerned."
                )
                raise OverrideError(message)
        self._check_all_are_there()
        self._check_k(table)

    def verify(self, run: Callable[[], None]) -> VerifiedOverride:
        """Observe what ``run`` makes tokens use, one request at a time, and compare it.

        With ``verify=config`` nothing is observed, and the record says so.
        """
        resolved = self._request.resolved
        baseline = self._request.description.num_experts_per_tok or None
        if self._verification == "config":
            return VerifiedOverride(
                requested=resolved.num_experts_per_tok if resolved else None,
                baseline=baseline,
                observed=None,
                n_layers=len({layer["path"] for layer in self.layers}),
                n_text_tokens=0,
                n_image_tokens=0,
                experts_k=resolved.schedule.text if resolved else None,
                routing={"verification": "config", "k_of_kernels": self._held()},
            )
        self._raise_if_hidden()
        self._call("moe_eval_start")
        try:
            run()
        finally:
            states = self._call("moe_eval_stop")
        ranks = [Observation.from_state(state) for state in states]
        for rank in ranks:
            # With pipeline parallelism a worker may have dense layers alone.
            if rank.layers:
                verify(resolved, baseline, rank)
        layers = {path: layer for rank in ranks for path, layer in rank.layers.items()}
        return verify(resolved, baseline, Observation(layers, ranks[0].input_tokens))

    def _check_all_are_there(self) -> None:
        found = {layer_number(layer["path"]) for layer in self.layers}
        expected = self._request.model.moe_layers
        missing = [number for number in expected if number not in found]
        if missing:
            message = (
                f"vLLM runs {len(missing)} of the {len(expected)} MoE layers of "
                f"{self._request.description.model_type} in a way that hides k (first: layer "
                f"{missing[0]}), so k cannot be set or verified there. Use --model moe_hf."
            )
            raise OverrideError(message)

    def _check_k(self, table: Mapping[str, int]) -> None:
        wrong = [
            f"{layer['path']}: {attribute} is {k}, {requested} was requested"
            for layer in self.layers
            if (requested := k_of_layer(table, layer["path"])) is not None
            for attribute, k in layer["k"].items()
            if k != requested
        ]
        if wrong:
            shown = "\n  ".join(wrong[:MAX_IN_MESSAGE])
            message = (
                f"{len(wrong)} attributes of vLLM's MoE layers have another k; nothing was run:\n  "
                f"{shown}\nvLLM must load the plugin moe_eval_plugin in all its processes: leave "
                "VLLM_PLUGINS unset, or add it there, and install moe-eval-plugin again if it "
                "was updated."
            )
            raise OverrideError(message)

    def _raise_if_hidden(self) -> None:
        hidden = [layer for layer in self.layers if layer["hides_choice"]]
        if hidden:
            message = (
                f"{hidden[0]['kernel']} routes and computes in one kernel, so the experts that "
                f"tokens use cannot be observed in {len(hidden)} MoE layers (first: "
                f"{hidden[0]['path']}). Choose another kernel with moe_backend=triton, or accept "
                "the k that routers and kernels hold with verify=config; the result will say so."
            )
            raise OverrideError(message)

    def _held(self) -> dict[str, list[int]]:
        return {layer["path"]: sorted(set(layer["k"].values())) for layer in self.layers}
