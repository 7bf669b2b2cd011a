"""Pass the cache of a forward pass to code of a checkpoint in the form that the code expects."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import torch
from transformers import Cache, DynamicCache

from moe_eval_plugin.models.releases.earlier_code import EARLIER, written_with
from moe_eval_plugin.models.releases.names import CACHE, forward_arguments

# The keys of the first layer, whose shape tells how many tokens a cache of tuples holds.
LENGTH_OF_TUPLES = "past_key_values[0][0]"


def pass_cache_as_written(model: Any) -> None:  # noqa: ANN401
    """Change a model of a checkpoint's code so that its forward gets the cache it was written for.

    That concerns the name of the argument, the methods of the cache, and before transformers 4.36
    its form: keys and values of each layer in tuples.
    """
    _prepare_as_written(model)
    if _takes_tuples(type(model)):
        _pass_tuples(model)


class EarlierCache(DynamicCache):  # type: ignore[misc]  # transformers has no types
    """A growing cache with the methods of transformers 4, and without layers before the first pass.

    Code of transformers 4 takes an empty cache for none.
    """

    @property
    def seen_tokens(self) -> int:
        """The tokens that the cache holds."""
        return int(self.get_seq_length())

    def get_usable_length(self, _new_tokens: int, layer_idx: int = 0) -> int:
        """Return the tokens that a layer can attend to: all, because the cache has no limit."""
        return int(self.get_seq_length(layer_idx))

    def get_max_length(self, _layer_idx: int | None = None) -> None:
        """Return no limit, as transformers 4 wrote it."""

    get_max_cache_shape = get_max_length


def _prepare_as_written(model: Any) -> None:  # noqa: ANN401
    """Pass the cache to the forward of a checkpoint's code under the name that it has for it.

    Since 5.24 transformers calls it ``cache``. Code that does not find it would see the last token
    alone, because the others are taken to be in the cache. Code without any cache gets all tokens.
    """
    prepare = getattr(model, "prepare_inputs_for_generation", None)
    if prepare is None:
        return
    known = next((name for name in forward_arguments(type(model)) if name in CACHE), None)
    is_earlier = written_with(model.config).startswith(EARLIER)
    arguments = inspect.signature(prepare).parameters

    def prepared(input_ids: Any, **given: Any) -> dict[str, Any]:  # noqa: ANN401
        cache = next((given.pop(name) for name in CACHE if name in given), None)
        if known is None:
            cache, given["next_sequence_length"] = None, None
        if is_earlier:
            _use_earlier(cache)
            n_past = 0 if cache is None else cache.get_seq_length()
            if "cache_position" in arguments:
                given["cache_position"] = torch.arange(
                    n_past, input_ids.shape[1], device=input_ids.device
                )
            if given.get("position_ids") is not None:
                given["position_ids"] = given["position_ids"][..., n_past:]
        given[next((name for name in CACHE if name in arguments), CACHE[0])] = cache
        inputs: dict[str, Any] = prepare(input_ids, **given)
        found = [inputs.pop(name) for name in CACHE if name in inputs]
        if known is not None and found:
            inputs[known] = found[0]
        return inputs

    model.prepare_inputs_for_generation = prepared


def _use_earlier(cache: Any) -> None:  # noqa: ANN401
    """Turn a cache that ``generate`` made into one of transformers 4, before its first pass."""
    if type(cache) is DynamicCache:
        cache.__class__ = EarlierCache
        cache.__init__()


def _takes_tuples(of: type) -> bool:
    """Whether code of a checkpoint takes its cache as keys and values of each layer, in tuples.

    So did all code before transformers 4.36 brought the class of caches. Later code that takes
    both converts tuples itself.
    """
    code = sys.modules[of.__module__]
    knows_caches = any(isinstance(v, type) and issubclass(v, Cache) for v in vars(code).values())
    return not knows_caches and LENGTH_OF_TUPLES in inspect.getsource(code)


def _pass_tuples(model: Any) -> None:  # noqa: ANN401
    """Turn the cache of a forward pass into tuples, and write what the pass returns into it."""
    name = next(name for name in forward_arguments(type(model)) if name in CACHE)
    given: list[Any] = []

    def before(_model: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        cache = kwargs.get(name)
        given.append(cache)
        if isinstance(cache, Cache):
            layers = [(layer.keys, layer.values) for layer in cache.layers if layer.is_initialized]
            kwargs = {**kwargs, name: tuple(layers) or None}
        return args, kwargs

    def after(_model: Any, _args: Any, output: Any) -> None:  # noqa: ANN401
        cache, layers = given.pop(), getattr(output, name, None)
        if not isinstance(layers, tuple):
            return
        cache = cache if isinstance(cache, Cache) else EarlierCache()
        for number, (keys, values) in enumerate(layers):
            if number < len(cache.layers) and cache.layers[number].is_initialized:
                cache.layers[number].keys, cache.layers[number].values = keys, values
            else:
                cache.update(keys, values, number)
        output[name] = cache

    model.register_forward_pre_hook(before, with_kwargs=True)
    # Also called when the pass fails, so that the next one does not find its cache.
    model.register_forward_hook(after, always_call=True)
