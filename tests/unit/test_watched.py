"""What a consumer tells of its engine's memory."""

import pytest
from prometheus_client import REGISTRY, Gauge

from consumers import watched as module
from consumers.watched import Watched
from fleet.metrics.look import Look


def _look() -> Look:
    raise AssertionError("nobody asked for a page")


def test_memory_is_told_where_the_engine_counts_it_and_unknown_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A real engine may have left its own in this process.
    name = "vllm:of_no_engine"
    monkeypatch.setattr(module, "KV_CACHE", name)
    watched = Watched()
    assert watched.kv_cache() is None, "nobody may ask, so nothing is counted"
    watched.pages(_look)
    assert watched.kv_cache() is None, "no engine is there"
    gauge = Gauge(name, "As vLLM names it.", ["model_name", "engine"])
    try:
        gauge.labels("m", "0").set(0.25)
        gauge.labels("m", "1").set(0.5)
        assert watched.kv_cache() == 0.5
    finally:
        REGISTRY.unregister(gauge)
