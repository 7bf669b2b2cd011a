from __future__ import annotations

from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint
from moe_eval_plugin.sweeps.timing.vllm.orders import EngineStart, changes_k_live


def test_an_engine_that_is_timed_starts_as_the_one_that_answered_but_without_caches() -> None:
    model_args = (
        'pretrained=demo,limit_mm_per_prompt={"image": 1, "video": 0},enable_prefix_caching=True,'
        "mm_processor_cache_gb=4,share_images=auto,max_num_seqs=8"
    )
    plan = SweepPlan("moe_vllm", model_args, ("easy_vqa",), (), batch_size="auto", device="cpu")
    start = EngineStart.of(plan, SweepPoint("k4", "4", seed=3))
    assert start.host == "lmms-eval"
    assert start.run["model_args"] == (
        'pretrained=demo,limit_mm_per_prompt={"image": 1, "video": 0},max_num_seqs=8,'
        "experts_k=4,seed=3,share_images=no"
    )
    assert (start.run["batch_size"], start.run["device"]) == ("auto", "cpu")


def test_an_engine_of_lm_eval_asks_as_in_the_answering_pass() -> None:
    model_args = "pretrained=demo,enable_prefix_caching=True,enforce_eager=True"
    plan = SweepPlan("moe_vllm", model_args, ("mmlu",), (), host="lm-eval", num_fewshot=5)
    start = EngineStart.of(plan, SweepPoint("k4", "4", seed=3))
    assert start.host == "lm-eval"
    assert start.run["model_args"] == (
        "pretrained=demo,enforce_eager=True,experts_k=4,enable_prefix_caching=False"
    )
    assert (start.run["num_fewshot"], start.run["seed"]) == (5, 3)
    # k is that of the engine, also where nothing is compiled for it.
    assert changes_k_live(model_args)
    assert not changes_k_live(model_args, "lm-eval")
