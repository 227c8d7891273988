"""What Prometheus and probes may ask of a pool manager, where FLEET_HEALTH_PORT is set."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from fleet.events import AnyEvent
from fleet.listening import listening, verdict
from fleet.settings import Settings


class Watch(NamedTuple):
    """Whom to tell: of each event, and after each look."""

    record: Callable[[AnyEvent], None]
    looked: Callable[[], None]


NOBODY = Watch(lambda _: None, lambda: None)


@contextmanager
def watched(settings: Settings, connected: Callable[[], bool]) -> Iterator[Watch]:
    """Answer while the body runs; without a port, tell nobody. Raises UsageError."""
    if settings.health_port is None:
        yield NOBODY
        return
    from fleet.metrics.manager import ManagerMetrics

    metrics = ManagerMetrics(connected)
    pages = {
        "/livez": lambda: verdict(metrics.ill()),
        "/readyz": lambda: verdict(metrics.unready()),
        "/metrics": metrics.page,
    }
    remedy = "set FLEET_HEALTH_PORT to a free port, or leave it out"
    with listening(pages, host=settings.health_host, port=settings.health_port, remedy=remedy):
        yield Watch(metrics.record, metrics.looked)
