from __future__ import annotations

from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint
from moe_eval_plugin.sweeps.timing.vllm.orders import EngineStart


def test_an_engine_that_is_timed_starts_as_the_one_that_answered_but_without_caches() -> None:
    model_args = (
        'pretrained=demo,limit_mm_per_prompt={"image": 1, "video": 0},enable_prefix_caching=True,'
        "mm_processor_cache_gb=4,share_images=auto,max_num_seqs=8"
    )
    plan = SweepPlan("moe_vllm", model_args, ("easy_vqa",), (), batch_size="auto", device="cpu")
    start = EngineStart.of(plan, SweepPoint("k4", "4", seed=3))
    assert start.model_args == (
        'pretrained=demo,limit_mm_per_prompt={"image": 1, "video": 0},max_num_seqs=8,'
        "experts_k=4,seed=3,share_images=no"
    )
    assert start.of_the_host == {"batch_size": "auto", "device": "cpu"}
