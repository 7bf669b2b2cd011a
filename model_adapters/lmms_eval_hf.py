"""``moe_hf``: Hugging Face transformers under lmms-eval, at a verified number of active experts."""

from __future__ import annotations

import json
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, set_seed
from accelerate.utils.memory import should_reduce_batch_size
from lmms_eval.api.instance import GenerationResult, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.model_utils.gen_metrics import log_metrics
from lmms_eval.protocol import ChatMessages
from lmms_eval.utils import simple_parse_args_string
from tqdm import tqdm

from moe_eval_plugin import timing
from moe_eval_plugin._lmms_eval import add_rows_to_results, user_errors
from moe_eval_plugin.batching import BatchQueue
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.model_adapters.arguments import parse_arguments
from moe_eval_plugin.model_adapters.hf_engine import Generated, HFEngine, check_request
from moe_eval_plugin.result import RunRecord, installed_versions, summarise
from moe_eval_plugin.verification import raise_if_ranks_differ

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lmms_eval.api.instance import Instance

    from moe_eval_plugin.model_adapters.hf_engine import Conversation, Encoded
    from moe_eval_plugin.verification import VerifiedOverride

logger = logging.getLogger(__name__)

GENERATE_ARGUMENTS = (
    "max_new_tokens",
    "min_new_tokens",
    "num_beams",
    "repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
)
SAMPLING_ARGUMENTS = ("temperature", "top_p", "top_k")
PROMPTS_TO_VERIFY = 4


@dataclass(frozen=True)
class _Item:
    """One request, with its place in the answers."""

    index: int
    task: str
    context: str
    build_messages: Callable[[], list[dict[str, Any]]]
    gen_kwargs: dict[str, Any]


@dataclass(frozen=True)
class _Prepared:
    """A batch whose images and tokens are ready."""

    items: Sequence[_Item]
    encoded: Encoded


class MoEHF(lmms):
    """A chat model for lmms-eval; ``--model_args`` are the fields of the two option classes."""

    is_simple = False

    @user_errors()
    def __init__(self, **model_args: Any) -> None:  # noqa: ANN401  (the host passes what the user wrote)
        super().__init__()
        self.accelerator = Accelerator()
        self._rank = self.accelerator.process_index
        self._world_size = self.accelerator.num_processes
        engine_options, self.options = parse_arguments(model_args)
        if self.world_size > 1 and engine_options.device_map is None:
            engine_options = replace(engine_options, device=str(self.accelerator.device))
        self.options.largest_batch(torch.device("cpu"))
        if self.options.system_prompt:
            prompt = self._resolve_system_prompt(self.options.system_prompt)
            self.options = replace(self.options, system_prompt=prompt.replace("\\n", "\n"))
        self.engine = HFEngine(engine_options)
        self.batch_size = self.options.largest_batch(self.device)
        self.moe_eval_records: dict[str, RunRecord] = {}
        self._experts: dict[str, VerifiedOverride] = {}
        self._ignored: set[str] = set()
        add_rows_to_results()

    @classmethod
    @user_errors()
    def create_from_arg_string(
        cls, arg_string: str, additional_config: dict[str, Any] | None = None
    ) -> MoEHF:
        """Build the model from ``--model_args``, which come before the host's own options."""
        return cls(**{**(additional_config or {}), **_parse(arg_string)})

    @property
    def device(self) -> torch.device:
        """The device of the model's inputs."""
        return self.engine.input_device

    def clean(self) -> None:
        """Restore the model's own k and let the host free its memory."""
        self.engine.close()
        del self.engine.model
        super().clean()

    @user_errors()
    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """Answer every request; the answers stand in the order of the requests."""
        items = [self._item(index, r) for index, r in enumerate(requests) if not _is_padding(r)]
        self._verify(items)
        set_seed(self.options.seed)
        answers, batches = self._run(items)
        self._record(batches)
        nothing = GenerationResult(text="")
        return [_as_result(answers[i]) if i in answers else nothing for i in range(len(requests))]

    @user_errors()
    def generate_until_multi_round(self, requests: list[Instance]) -> list[list[str]]:
        """Answer each request round by round, as its task asks; one list of answers for each."""
        first = [self._item(index, r) for index, r in enumerate(requests) if not _is_padding(r)]
        self._verify(first)
        set_seed(self.options.seed)
        timer = timing.LapTimer(self._synchronize)
        batches, answers = [], {}
        for item in self._progress(first, len(first)):
            rounds = self._all_rounds(item, requests[item.index])
            answers[item.index] = [one.text for one in rounds]
            batches.append(_timing_of(item.task, rounds, timer.lap(), n_samples=1))
        self._record(batches)
        return [answers.get(index, []) for index in range(len(requests))]

    @user_errors()
    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Score each continuation: the sum of its log-probabilities, and whether it is greedy."""
        items = [self._scoring_item(index, r) for index, r in enumerate(requests)]
        self._verify(items)
        timer = timing.LapTimer(self._synchronize)
        scores, batches = [], []
        for item, request in zip(self._progress(items, len(items)), requests, strict=True):
            continuation = request.args[1]
            if callable(continuation):
                continuation = continuation(self._document(*request.args[3:6]))
            scores.append(self.engine.loglikelihood(self._conversation(item), str(continuation)))
            batches.append(timing.BatchTiming(item.task, 1, 0, (), timer.lap()))
        self._record(batches)
        return scores

    def _run(self, items: list[_Item]) -> tuple[dict[int, Generated], list[timing.BatchTiming]]:
        """Generate batch by batch, while a thread prepares the next batch."""
        queue = BatchQueue(items, self.batch_size, group=_group, length=lambda i: len(i.context))
        answers: dict[int, Generated] = {}
        batches: list[timing.BatchTiming] = []
        progress = self._progress(None, len(items))
        timer = timing.LapTimer(self._synchronize)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="preprocess") as pool, progress:
            following = self._prepare_next(pool, queue)
            while following is not None:
                prepared = following.result()
                following = self._prepare_next(pool, queue)
                results = self._generate(prepared, queue)
                if results is None:
                    following = following or self._prepare_next(pool, queue)
                    continue
                answers.update(zip([i.index for i in prepared.items], results, strict=True))
                task = prepared.items[0].task
                batches.append(_timing_of(task, results, timer.lap(), n_samples=len(results)))
                progress.update(len(results))
        self.batch_size = queue.batch_size
        return answers, batches

    def _prepare_next(
        self, pool: ThreadPoolExecutor, queue: BatchQueue[_Item]
    ) -> Future[_Prepared] | None:
        return pool.submit(self._prepare, queue.pop()) if queue else None

    def _prepare(self, items: Sequence[_Item]) -> _Prepared:
        conversations = [self._conversation(item) for item in items]
        return _Prepared(items, self.engine.encode(conversations))

    def _generate(self, prepared: _Prepared, queue: BatchQueue[_Item]) -> list[Generated] | None:
        """Generate one batch; if memory runs out, return ``None`` and the batch to the queue."""
        gen_kwargs = prepared.items[0].gen_kwargs
        try:
            return self.engine.generate(
                prepared.encoded, self._generate_arguments(gen_kwargs), _until(gen_kwargs)
            )
        except RuntimeError as error:
            if len(prepared.items) == 1 or not should_reduce_batch_size(error):
                raise
        torch.cuda.empty_cache()
        queue.put_back_halved(prepared.items)
        logger.warning(
            "Out of memory with %d requests in a batch; going on with %d.",
            len(prepared.items),
            queue.batch_size,
        )
        return None

    def _verify(self, items: Sequence[_Item]) -> None:
        """Observe k on the first prompts of each task, before anything is scored or timed."""
        for task in dict.fromkeys(item.task for item in items):
            prompts = [item for item in items if item.task == task][:PROMPTS_TO_VERIFY]
            experts = self.engine.verify([self._conversation(item) for item in prompts])
            self._experts[task] = experts
            logger.info("%s: %s", task, experts)
        mine = [dict(self._experts)]
        raise_if_ranks_differ(gather_object(mine) if self.world_size > 1 else mine)

    def _record(self, batches: Sequence[timing.BatchTiming]) -> None:
        """Join this rank's times with the others', and hand the records to the host's table."""
        mine = [list(batches)]
        ranks = gather_object(mine) if self.world_size > 1 else mine
        provenance = self._provenance()
        for task, speed in summarise(ranks).items():
            experts = self._experts.get(task)
            if experts is not None:
                self.moe_eval_records[task] = RunRecord(task, experts, speed, provenance)
        n_tokens = sum(batch.n_output_tokens for batch in batches)
        seconds = sum(batch.wall_s for batch in batches)
        if seconds > 0:
            log_metrics(
                total_gen_tokens=n_tokens,
                total_elapsed_time=seconds,
                avg_speed=n_tokens / seconds,
                additional_metrics={"rank": self.rank},
            )

    def _provenance(self) -> dict[str, Any]:
        """Tell how these numbers came about, as far as the model knows."""
        engine, config = self.engine, self.engine.model.config
        on_gpu = self.device.type == "cuda"
        return {
            "pretrained": engine.options.pretrained,
            "revision": getattr(config, "_commit_hash", None) or engine.options.revision,
            "model_class": type(engine.model).__name__,
            "experts_k": engine.resolved.schedule.text if engine.resolved else None,
            "experts_policy": engine.rule.policy_text,
            "renorm": engine.rule.renorm,
            "warnings": list(engine.warnings),
            "experts_implementation": getattr(config, "_experts_implementation", None),
            "attn_implementation": getattr(config, "_attn_implementation", None),
            "dtype": str(engine.model.dtype).removeprefix("torch."),
            "device": torch.cuda.get_device_name(self.device) if on_gpu else self.device.type,
            "batch_size": self.batch_size,
            "n_ranks": self.world_size,
            "seed": self.options.seed,
            "system_prompt": self.options.system_prompt,
            "versions": installed_versions(),
        }

    def _item(self, index: int, request: Instance) -> _Item:
        context, doc_to_messages, gen_kwargs, doc_id, task, split = request.args
        return _Item(
            index=index,
            task=task,
            context=context if isinstance(context, str) else "",
            build_messages=lambda: doc_to_messages(self._document(doc_id, task, split)),
            gen_kwargs=dict(gen_kwargs),
        )

    def _scoring_item(self, index: int, request: Instance) -> _Item:
        context, _continuation, doc_to_visual, doc_id, task, split = request.args

        def build() -> list[dict[str, Any]]:
            visuals = doc_to_visual(self._document(doc_id, task, split)) if doc_to_visual else []
            parts = [{"type": "image", "url": visual} for visual in visuals or []]
            return [{"role": "user", "content": [*parts, {"type": "text", "text": context}]}]

        return _Item(index, task, context, build, gen_kwargs={})

    def _document(self, doc_id: int, task: str, split: str) -> Any:  # noqa: ANN401  (the task's own)
        return self.task_dict[task][split][doc_id]

    def _conversation(self, item: _Item) -> Conversation:
        return self._to_conversation(item.build_messages())

    def _to_conversation(self, messages: list[dict[str, Any]]) -> Conversation:
        if self.options.system_prompt:
            messages = self._apply_system_prompt(messages, self.options.system_prompt)
        conversation: Conversation = ChatMessages(messages=messages).to_hf_messages()
        return conversation

    def _all_rounds(self, item: _Item, request: Instance) -> list[Generated]:
        """Follow the host's protocol: each round's messages depend on the answers before it."""
        _, doc_to_messages, _, doc_id, task, split = request.args
        document = self._document(doc_id, task, split)
        arguments = self._generate_arguments(item.gen_kwargs)
        answers: list[Generated] = []
        messages, info = doc_to_messages(document), None
        while True:
            encoded = self.engine.encode([self._to_conversation(messages)])
            answers += self.engine.generate(encoded, arguments, _until(item.gen_kwargs))
            following = doc_to_messages(
                document,
                round_idx=len(answers),
                previous_output=[answer.text for answer in answers],
                previous_round_info=info,
            )
            if not isinstance(following, tuple) or following[1]:
                return answers
            messages, _, _, info = following

    def _generate_arguments(self, gen_kwargs: dict[str, Any]) -> dict[str, Any]:
        """Translate a task's generation arguments into those of transformers; greedy by default."""
        unknown = set(gen_kwargs) - {*GENERATE_ARGUMENTS, *SAMPLING_ARGUMENTS, "until", "do_sample"}
        if unknown - self._ignored:
            self._ignored |= unknown
            logger.warning("Generation arguments not used here: %s", ", ".join(sorted(unknown)))
        chosen = {k: gen_kwargs[k] for k in GENERATE_ARGUMENTS if gen_kwargs.get(k) is not None}
        temperature = gen_kwargs.get("temperature") or 0.0
        samples = bool(gen_kwargs.get("do_sample", temperature > 0)) and temperature != 0
        sampling = {k: gen_kwargs.get(k) if samples else None for k in SAMPLING_ARGUMENTS}
        return {
            "max_new_tokens": self.options.max_new_tokens,
            **chosen,
            **sampling,
            "do_sample": samples,
        }

    def _synchronize(self) -> None:
        timing.synchronize(str(self.device))

    def _progress(self, items: Sequence[_Item] | None, total: int) -> Any:  # noqa: ANN401  (tqdm has no types)
        return tqdm(items, total=total, desc="moe_hf", unit="request", disable=self.rank != 0)


@user_errors()
def check_arguments(arg_string: str) -> None:
    """Refuse ``--model_args`` that no model could be built from; nothing is loaded."""
    engine_options, options = parse_arguments(_parse(arg_string))
    options.largest_batch(torch.device("cpu"))
    check_request(engine_options)


def _parse(arg_string: str) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = simple_parse_args_string(arg_string)
    except ValueError as error:
        message = f"--model_args {arg_string} cannot be read. Write name=value,name=value."
        raise InvalidArgumentError(message) from error
    return parsed


def _is_padding(request: Instance) -> bool:
    """Tell whether the host made this request up, so that all ranks have equally many."""
    return bool(request.metadata.get("__padding_only__"))


def _group(item: _Item) -> tuple[str, str]:
    return item.task, json.dumps(item.gen_kwargs, sort_keys=True, default=str)


def _until(gen_kwargs: dict[str, Any]) -> tuple[str, ...]:
    until = gen_kwargs.get("until") or ()
    return tuple(stop for stop in ([until] if isinstance(until, str) else until) if stop)


def _as_result(answer: Generated) -> GenerationResult:
    counts = TokenCounts(input_tokens=answer.n_input_tokens, output_tokens=answer.n_output_tokens)
    return GenerationResult(text=answer.text, token_counts=counts)


def _timing_of(
    task: str, answers: Sequence[Generated], wall_s: float, n_samples: int
) -> timing.BatchTiming:
    return timing.BatchTiming(
        task=task,
        n_samples=n_samples,
        n_input_tokens=sum(answer.n_input_tokens for answer in answers),
        output_tokens=tuple(answer.n_output_tokens for answer in answers),
        wall_s=wall_s,
    )
