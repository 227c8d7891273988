"""The log sink: one line an event, as JSON or as text. No prompt and no output is ever in it."""

import json
import logging
import sys
import time
from contextvars import ContextVar
from functools import cache
from typing import Literal

import msgspec

from fleet.events import AnyEvent
from fleet.subjects import plain

# Characters of one value in a line for people.
SHOWN = 4000
log = logging.getLogger("fleet.events")
# The trace of the job that is being worked on, 32 hex digits.
trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)


class _Line(logging.Formatter):
    """Fields of a record: time, level, text, and whatever was given as `extra`."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        own = _names(logging.getLogRecordFactory())
        extra = {key: value for key, value in record.__dict__.items() if key not in own}
        if (trace := trace_id.get()) is not None:
            extra["trace_id"] = trace
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        if self._as_json:
            fields = {
                "at": f"{at}Z",
                "level": record.levelname.lower(),
                "text": record.getMessage(),
            }
            if record.exc_info:
                fields["error"] = self.formatException(record.exc_info)
            # One line, whatever an error's text holds.
            return json.dumps(fields | extra, default=str)
        # An error may quote what a stranger sent: here it begins no line, and commands no terminal.
        pairs = " ".join(f"{key}={plain(str(value), limit=SHOWN)}" for key, value in extra.items())
        line = f"{at}Z {record.levelname.lower():7} {record.getMessage()} {pairs}".rstrip()
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


@cache
def _names(_made_by: object) -> frozenset[str]:
    """List what every record has by itself: a library's own factory adds to it (vLLM's does)."""
    return frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def formatter(*, as_json: bool) -> logging.Formatter:
    """Return what makes a line of a record."""
    return _Line(as_json=as_json)


def set_up(form: Literal["text", "json"], *, level: int = logging.INFO) -> None:
    """Send the log to stderr; stdout belongs to data."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(as_json=form == "json"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # The client logs each reconnect attempt with a traceback; our own events say it better.
    logging.getLogger("nats").setLevel(logging.CRITICAL)


def record(event: AnyEvent) -> None:
    """Sink: write an event to the log."""
    fields = msgspec.to_builtins(event)
    # The line's own time is that of the event, and `at` is of one type in every line.
    del fields["at"]
    log.info(fields.pop("event"), extra=fields)
