"""What `fleet check` says, in each of its forms, and `fleet top` as tables."""

import msgspec
import pytest

from dashboard.findings import Finding, findings, worst
from dashboard.headline import alarm_lines
from dashboard.look import Look
from dashboard.printed import tables, whole
from dashboard.saying import NUMBERS, Form, said
from dashboard.snapshot import FleetSnapshot
from tests.made_up import NOW, snapshot

HOSTILE = "a|b\n\x1b[31m\u202e[/red]" + "x" * 10_000
FOUND = [
    Finding(name="data", level="ok", text="0.4 s old", value=0.4, unit="s"),
    Finding(name="nodes_ready", level="ok", text="2 of 3 nodes ready", value=2),
    Finding(name="nodes_lost", level="warning", text=HOSTILE, value=1),
]


def test_text_begins_with_the_level_and_the_worst() -> None:
    lines = said(FOUND, "warning", "text").splitlines()
    assert lines[0].startswith("warning: a")
    assert "nodes_lost" in lines[1]
    assert len(lines) == 4


def test_what_could_not_be_read_is_summed_up_once() -> None:
    unread = [
        Finding(name=name, level="unknown", text="run `fleet init`") for name in ("data", "nodes")
    ]
    assert said(unread, "unknown", "text").splitlines()[0] == "unknown: run `fleet init`"
    [line] = alarm_lines(unread, width=80, most=4, look=Look())
    assert len(line.pieces) == 1


def test_json_holds_every_finding_as_it_is() -> None:
    told = msgspec.json.decode(said(FOUND, "warning", "json"))
    assert told["level"] == "warning"
    assert [one["name"] for one in told["findings"]] == ["data", "nodes_ready", "nodes_lost"]


def test_nagios_has_one_bar_on_its_first_line_and_none_behind() -> None:
    first, *rest = said(FOUND, "warning", "nagios").splitlines()
    assert first.startswith("OVERBOOK WARNING - ")
    assert first.count("|") == 1
    assert first.endswith("data=0.4s nodes_ready=2 nodes_lost=1")
    assert not any("|" in line for line in rest)


def test_prometheus_reads_it() -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    families = list(
        parser.text_string_to_metric_families(said(FOUND, "warning", "prometheus") + "\n")
    )
    levels = {s.labels["check"]: s.value for f in families for s in f.samples if "level" in s.name}
    assert levels == {"all": 1, "data": 0, "nodes_ready": 0, "nodes_lost": 1}


@pytest.mark.parametrize("form", ["text", "nagios", "prometheus"])
def test_nothing_foreign_reaches_a_terminal_raw(form: Form) -> None:
    text = said(FOUND, "warning", form)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert len(text) < 3_000


def test_every_level_has_its_number() -> None:
    assert NUMBERS == {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}


@pytest.mark.parametrize("width", [80, 200])
def test_tables_keep_to_their_width_whatever_is_in_them(width: int) -> None:
    evil = snapshot(say=lambda text: HOSTILE + text)
    text = tables(evil, 60.0, width=width, look=Look(ascii=False))
    assert "\x1b" not in text
    assert "\u202e" not in text
    rows = [line for line in text.splitlines() if line.startswith("a|b") and ", data" not in line]
    assert rows
    assert all(len(line) <= width for line in rows)


def test_tables_of_nothing_say_so() -> None:
    text = tables(FleetSnapshot(at=NOW), 60.0, width=80, look=Look(ascii=True))
    assert "UNKNOWN" in text
    assert "No node is alive" in text
    assert text.isascii()


def test_the_object_holds_what_the_screen_shows() -> None:
    made = snapshot()
    told = msgspec.json.decode(msgspec.json.encode(whole(made, 300.0)))
    assert told["window_s"] == 300.0
    assert told["level"] == worst(findings(made))
    assert len(told["nodes"]) == len(made.nodes)
    assert {"queues", "jobs", "batches", "costs", "events", "findings", "age_s"} <= told.keys()
