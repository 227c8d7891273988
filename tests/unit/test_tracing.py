"""A trace goes with its job, and every delivery is a part of it that says nothing secret."""

import json
import logging
import os
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fleet import log as log_sink
from fleet.errors import LeaseLost, UsageError
from fleet.job import Job, Tier
from fleet.tracing import Traced, Untraced, current, tracing
from fleet.wire import TRACEPARENT, job_headers, trace_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
PRODUCER = f"00-{TRACE}-b7ad6b7169203331-01"


def job(traceparent: str | None = PRODUCER) -> Job:
    return Job(
        id="j1", tenant="acme", model="m", tier=Tier.BATCH, sha256="0" * 64, items=(),
        traceparent=traceparent,
    )  # fmt: skip


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traced(spans: InMemorySpanExporter) -> Traced:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return Traced(provider.get_tracer("test"), node="spot-1")


def only(spans: InMemorySpanExporter) -> ReadableSpan:
    (span,) = spans.get_finished_spans()
    return span


def test_without_a_collector_the_producers_trace_goes_out_as_it_came() -> None:
    with tracing({}, node="n") as traces, traces.delivery(job(), number=1) as span:
        assert isinstance(traces, Untraced)
        assert span.traceparent == PRODUCER
        span.follow(PRODUCER)
    with Untraced().delivery(job(None), number=1) as span:
        assert span.traceparent is None


def test_a_delivery_is_a_part_of_its_producers_trace(
    traced: Traced, spans: InMemorySpanExporter
) -> None:
    with traced.delivery(job(), number=2) as span:
        told = span.traceparent
    made = only(spans)
    assert made.context
    assert made.parent
    assert f"{made.context.trace_id:032x}" == TRACE
    assert f"{made.parent.span_id:016x}" == "b7ad6b7169203331"
    # What goes out with the results is this delivery, not the producer.
    assert told == f"00-{TRACE}-{made.context.span_id:016x}-01"
    assert made.attributes
    assert made.attributes["fleet.delivery"] == 2
    assert made.attributes["messaging.system"] == "nats"


def test_a_job_without_a_trace_begins_one(traced: Traced, spans: InMemorySpanExporter) -> None:
    with traced.delivery(job(None), number=1) as span:
        assert trace_of({TRACEPARENT: span.traceparent or ""})
    assert only(spans).parent is None


def test_a_job_that_changes_hands_is_linked_to_its_first_delivery(
    traced: Traced, spans: InMemorySpanExporter
) -> None:
    with traced.delivery(job(), number=1) as first:
        began = first.traceparent
    spans.clear()
    with traced.delivery(job(), number=2) as second:
        second.follow(began)
        second.follow(None)
        second.follow("00-zz")
    (link,) = only(spans).links
    assert f"{link.context.span_id:016x}" == str(began).split("-")[2]


def test_what_went_wrong_is_not_told_in_the_error_s_words(
    traced: Traced, spans: InMemorySpanExporter
) -> None:
    with pytest.raises(LeaseLost), traced.delivery(job(), number=1):
        raise LeaseLost("a secret prompt")
    assert "secret" not in only(spans).to_json()


def test_every_line_of_the_log_names_the_trace(caplog: pytest.LogCaptureFixture) -> None:
    line = log_sink.formatter(as_json=True)
    record = logging.LogRecord("x", logging.INFO, "", 0, "told", None, None)
    with Untraced().delivery(job(), number=1):
        assert json.loads(line.format(record))["trace_id"] == TRACE
    assert "trace_id" not in json.loads(line.format(record))


def test_a_producer_that_stands_in_a_trace_hands_it_on(traced: Traced) -> None:
    assert current() is None
    provider = TracerProvider(shutdown_on_exit=False)
    with provider.get_tracer("app").start_as_current_span("ask"):
        told = current()
        assert told
        assert trace.get_current_span().get_span_context().is_valid
    assert job_headers("acme", "j", traceparent=told)[TRACEPARENT] == told


def test_a_broken_trace_is_none(traced: Traced) -> None:
    assert TRACEPARENT not in job_headers("acme", "j", traceparent="00-zz\r\nPUB x 1")
    with traced.delivery(job("00-zz"), number=1) as span:
        assert span.traceparent != "00-zz"


def test_an_exporter_that_there_is_not_is_refused_with_the_remedy() -> None:
    with (
        pytest.raises(UsageError, match="otlp, console or none"),
        tracing({"OTEL_TRACES_EXPORTER": "zipkin"}, node="n"),
    ):
        pass


def test_spans_reach_a_collector_and_one_that_is_gone_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(HTTPStatus.OK)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            with tracing(os.environ, node="n") as traces, traces.delivery(job(), number=1):
                pass
        finally:
            server.shutdown()
            thread.join()
    ((path, body),) = got
    assert path == "/v1/traces"
    assert bytes.fromhex(TRACE) in body
    began = time.monotonic()
    with tracing(os.environ, node="n") as traces, traces.delivery(job(), number=1):
        pass
    assert time.monotonic() - began < 10
