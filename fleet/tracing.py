"""Traces: a producer's `traceparent` goes with its job, and comes back with its results.

Spans are made where OpenTelemetry (extra `otel`) is told where to send them, by its own variables:
OTEL_TRACES_EXPORTER (`otlp` or `console`) and OTEL_EXPORTER_OTLP_ENDPOINT. Everywhere else what
came in goes out as it is. No prompt and no answer is in a span, nor is an error's text.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from fleet.errors import UsageError
from fleet.job import Job
from fleet.log import trace_id
from fleet.wire import TRACEPARENT, trace_of

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

EXPORTER: Final = "OTEL_TRACES_EXPORTER"
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
# A collector that does not answer must not hold up a node that has to go.
FLUSH_MS: Final = 2000


class Span(Protocol):
    """One delivery of a job. traceparent: what goes with its results; None where nobody traces."""

    @property
    def traceparent(self) -> str | None: ...

    def follow(self, earlier: str | None) -> None:
        """Link it to the delivery that began the job."""
        ...


class Traces(Protocol):
    """Follows deliveries."""

    @contextmanager
    def delivery(self, job: Job, *, number: int) -> Iterator[Span]:
        """Trace what the body does. number: how often the job was delivered, from 1."""
        ...


class Passed:
    """What came in, as it came."""

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def follow(self, earlier: str | None) -> None:
        """There is nothing to link."""


class Untraced:
    """Makes no spans, and hands on what producers say."""

    @contextmanager
    def delivery(self, job: Job, *, number: int) -> Iterator[Span]:
        """Let the log name the trace."""
        del number
        with _named(job.traceparent):
            yield Passed(job.traceparent)


class _Spanned:
    def __init__(self, span: Any, traceparent: str) -> None:
        self._span = span
        self.traceparent = traceparent

    def follow(self, earlier: str | None) -> None:
        from opentelemetry import trace

        context = trace.get_current_span(_context(earlier)).get_span_context()
        if earlier is not None and context.is_valid:
            self._span.add_link(context, {"fleet.link": "first delivery"})


class Traced:
    """Makes a span of each delivery, below the producer's."""

    def __init__(self, tracer: "Tracer", *, node: str) -> None:
        self._tracer = tracer
        self._node = node

    @contextmanager
    def delivery(self, job: Job, *, number: int) -> Iterator[Span]:
        """Say what is delivered, and for how long it was here."""
        from opentelemetry.trace import SpanKind

        with self._tracer.start_as_current_span(
            f"process jobs.{job.tier}.{job.model}",
            context=_context(job.traceparent),
            kind=SpanKind.CONSUMER,
            attributes={
                "messaging.system": "nats",
                "messaging.operation.type": "process",
                "messaging.destination.name": f"jobs.{job.tier}.{job.model}",
                "messaging.message.id": job.id,
                "fleet.tenant": job.tenant,
                "fleet.node": self._node,
                "fleet.items": len(job.items),
                "fleet.delivery": number,
            },
            # An error's text may quote what a producer sent.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            traceparent = current() or job.traceparent or ""
            with _named(traceparent):
                yield _Spanned(span, traceparent)


@contextmanager
def tracing(env: Mapping[str, str], *, node: str) -> Iterator[Traces]:
    """Give what traces deliveries while the body runs, as the environment asks.

    Raises UsageError for an exporter that there is not, or OpenTelemetry where it is missing.
    """
    otlp = any(env.get(name) for name in ENDPOINTS)
    kind = env.get(EXPORTER) or ("otlp" if otlp else "none")
    if kind == "none":
        yield Untraced()
        return
    if kind not in {"otlp", "console"}:
        raise UsageError(f"{EXPORTER} is {kind!a}: use otlp, console or none")
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

        resource = Resource.create({"service.name": "overbook", "service.instance.id": node})
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = ConsoleSpanExporter() if kind == "console" else _otlp()
        provider.add_span_processor(BatchSpanProcessor(exporter, export_timeout_millis=FLUSH_MS))
    except ImportError as error:
        raise UsageError(
            f"{EXPORTER} is {kind}, but OpenTelemetry is not installed ({error}): "
            "pip install 'overbook[otel]', or unset it"
        ) from error
    try:
        yield Traced(provider.get_tracer("overbook"), node=node)
    finally:
        provider.force_flush(FLUSH_MS)


def current() -> str | None:
    """Return the trace in which the caller stands, if it uses OpenTelemetry and stands in any."""
    # Not imported for this: who has not loaded it has no span.
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(TRACEPARENT)


def _otlp() -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(timeout=FLUSH_MS / 1000)


def _context(traceparent: str | None) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {TRACEPARENT: traceparent} if traceparent else {}
    return TraceContextTextMapPropagator().extract(carrier, context=Context())


@contextmanager
def _named(traceparent: str | None) -> Iterator[None]:
    """Let every line of the log in the body name the trace."""
    valid = trace_of({TRACEPARENT: traceparent}) if traceparent else None
    token = trace_id.set(valid.split("-")[1] if valid else None)
    try:
        yield
    finally:
        trace_id.reset(token)
