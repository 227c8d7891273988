"""A line of the log, whatever is in it."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from fleet.events import NodeReady
from fleet.log import formatter, record

HOSTILE = "no\n2026-11-26T00:00:00Z info    all is well \x1b[2J\u202e"


def lines(*, as_json: bool, **extra: object) -> list[str]:
    record = logging.makeLogRecord({"msg": "a job was refused", "levelname": "WARNING", **extra})
    return formatter(as_json=as_json).format(record).splitlines()


@pytest.mark.parametrize("as_json", [False, True])
def test_what_a_stranger_sent_begins_no_line_and_commands_no_terminal(as_json: bool) -> None:
    (line,) = lines(as_json=as_json, cause=HOSTILE)
    assert line.isprintable()


def test_a_line_for_people_has_its_fields_behind_the_text() -> None:
    (line,) = lines(as_json=False, job_id="j", count=3)
    assert line.endswith(" warning a job was refused job_id=j count=3")


def test_a_line_for_machines_is_json() -> None:
    (line,) = lines(as_json=True, job_id="j", cause=HOSTILE)
    fields = json.loads(line)
    assert (fields["text"], fields["job_id"], fields["cause"]) == (
        "a job was refused", "j", HOSTILE
    )  # fmt: skip


def test_what_a_librarys_own_records_all_have_is_no_field_of_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = logging.getLogRecordFactory()

    def marked(*args: Any, **kwargs: Any) -> logging.LogRecord:  # as vLLM does when it is imported
        record = made(*args, **kwargs)
        record.process_title = "MainProcess"
        return record

    monkeypatch.setattr(logging, "_logRecordFactory", marked)
    (line,) = lines(as_json=False, job_id="j")
    assert line.endswith(" warning a job was refused job_id=j")


def test_an_events_line_says_when_as_every_other_line_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    record(NodeReady(at=1.5, node="n", load_s=2.0))
    (told,) = caplog.records
    fields = json.loads(formatter(as_json=True).format(told))
    assert (fields.pop("text"), fields.pop("level")) == ("node_ready", "info")
    assert datetime.fromisoformat(fields.pop("at")).tzinfo is UTC
    assert fields == {"node": "n", "load_s": 2.0}
