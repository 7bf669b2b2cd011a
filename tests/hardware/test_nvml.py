from __future__ import annotations

import pytest

from tests.hardware.fake_gpus import FakeNvml


def test_the_real_nvml_has_what_is_asked_of_it() -> None:
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    asked = [name for name in dir(FakeNvml) if name.startswith(("nvml", "NVML"))]
    assert len(asked) == 9
    assert [name for name in asked if not hasattr(pynvml, name)] == []
    assert (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM) == (1, 2)
