"""How numbers are written down for Prometheus, and what may be a label.

Labels have few values, all of them known beforehand: no job's name, no prompt, nothing that a
producer chooses. A tenant's name is one only where an operator listed it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Final, TypeVar

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from fleet.listening import Page

OTHER: Final = "other"
# A second series for each counter, that says when it began, is of no use to us or to vLLM.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's
Values = TypeVar("Values", bound=tuple[str, ...])


def registry() -> CollectorRegistry:
    """Make a registry that says which version this is."""
    made = CollectorRegistry()
    Info("fleet_build", "Which version of Overbook this is.", registry=made).info(
        {"version": version("overbook")}
    )
    return made


def page(ours: CollectorRegistry) -> Page:
    """Write down ours, then what the process and its libraries count: vLLM's `vllm:*` as well."""
    return Page(generate_latest(ours) + generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)


def measured(name: str) -> float | None:
    """Return what a library of this process tells under a name, the largest of its samples.

    None where it tells nothing: no such library, or one that was told not to count.
    """
    families = REGISTRY.restricted_registry([name]).collect()
    return max((sample.value for family in families for sample in family.samples), default=None)


def known(value: str, values: Collection[str]) -> str:
    """Return a label's value, `other` if it is none of those that are listed."""
    return value if value in values else OTHER


def gauges(
    name: str, text: str, labels: Iterable[str], samples: Mapping[Values, float | None]
) -> Iterator[GaugeMetricFamily]:
    """Give a gauge with a sample for each tuple of label values; what is not known is left out."""
    family = GaugeMetricFamily(name, text, labels=tuple(labels))
    for values, sample in samples.items():
        if sample is not None:
            family.add_metric(values, sample)
    yield family


def gauge(name: str, text: str, value: float | None) -> Iterator[GaugeMetricFamily]:
    """Give a gauge without labels, or nothing for what is not known."""
    if value is not None:
        yield GaugeMetricFamily(name, text, value=value)


def counter(name: str, text: str, value: float) -> Iterator[CounterMetricFamily]:
    """Give a counter whose value somebody else keeps. name: without `_total`."""
    yield CounterMetricFamily(name, text, value=value)
