"""What a consumer tells of its engine's memory."""

from prometheus_client import REGISTRY, Gauge

from consumers.watched import KV_CACHE, Watched
from fleet.metrics.look import Look


def _look() -> Look:
    raise AssertionError("nobody asked for a page")


def test_memory_is_told_where_the_engine_counts_it_and_unknown_elsewhere() -> None:
    watched = Watched()
    assert watched.kv_cache() is None, "nobody may ask, so nothing is counted"
    watched.pages(_look)
    assert watched.kv_cache() is None, "no engine is there"
    gauge = Gauge(KV_CACHE, "As vLLM names it.", ["model_name", "engine"])
    try:
        gauge.labels("m", "0").set(0.25)
        gauge.labels("m", "1").set(0.5)
        assert watched.kv_cache() == 0.5
    finally:
        REGISTRY.unregister(gauge)
