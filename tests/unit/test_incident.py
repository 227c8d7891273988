"""The recorded incident that ships: what an operator is to find in it can be found."""

import gzip

import pytest

from dashboard.findings import alarms
from dashboard.job_rows import job_rows
from dashboard.model import fleet_rows
from dashboard.recorded import read
from dashboard.snapshot import FleetSnapshot
from fleet.cli.top import incident
from fleet.events import OperatorActed
from tests.screens import dashboard, seen
from tests.showcase.incident import anonymous
from tests.showcase.picture import MOMENT
from tests.showcase.story import COSTLY, KILLED, LEAVES, STUCK

MOST_BYTES = 200_000


@pytest.fixture(scope="module")
def recorded() -> list[FleetSnapshot]:
    return list(read(incident()))


def said(snapshot: FleetSnapshot) -> dict[str, str]:
    return {one.name: one.text for one in alarms(snapshot)}


def test_from_the_first_picture_on_the_stuck_job_and_the_costly_node_are_named(
    recorded: list[FleetSnapshot],
) -> None:
    for snapshot in recorded:
        found = said(snapshot)
        assert f"quarterly-report of initech on {STUCK.node}" in found["jobs_still"]
        assert COSTLY in found["nodes_costly"]
        assert job_rows(snapshot)[0].job == "quarterly-report"


def test_the_coming_termination_counts_down_to_the_end_of_the_recording(
    recorded: list[FleetSnapshot],
) -> None:
    rows = [row for s in recorded for row in fleet_rows(s, 60.0) if row.node == LEAVES]
    left = [row.leaves_in_s for row in rows if row.leaves_in_s is not None]
    assert left[0] > 110
    assert 0 < left[-1] < 20
    assert len(left) > 0.9 * len(recorded)
    assert "aws" in said(recorded[-1])["nodes_leaving"]


def test_the_killed_node_the_late_batch_and_the_dead_letters_are_named_at_the_end(
    recorded: list[FleetSnapshot],
) -> None:
    found = said(recorded[-1])
    assert KILLED in found["nodes_lost"]
    assert "nightly-eval of acme" in found["batches_late"]
    assert found["dead_letters"].startswith("3 jobs")


@pytest.mark.parametrize("moment", [30, MOMENT, -1])
async def test_the_smallest_screen_names_all_of_it_at_first_sight(
    recorded: list[FleetSnapshot], moment: int
) -> None:
    app = dashboard(recorded[moment])
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        lines = seen(app).splitlines()
    for words in (("do not move", "quarterly-report"), ("leaving", LEAVES), ("costly", COSTLY)):
        assert any(all(word in line for word in words) for line in lines[2:6]), words
    assert "$" in lines[0], "what it costs an hour"


def test_who_acted_is_in_it(recorded: list[FleetSnapshot]) -> None:
    acts = [one.event for one in recorded[-1].events if isinstance(one.event, OperatorActed)]
    assert [(one.by, one.deed, one.outcome) for one in acts] == [
        ("ada at bastion-1", "requeue", "begun"), ("ada at bastion-1", "requeue", "done"),
    ]  # fmt: skip


def test_it_is_small_and_says_nothing_of_where_it_was_recorded(
    recorded: list[FleetSnapshot],
) -> None:
    assert incident().stat().st_size < MOST_BYTES
    assert all(anonymous(snapshot) == snapshot for snapshot in recorded)
    text = gzip.decompress(incident().read_bytes())
    for word in (b"127.0.0.1", b"/tmp", b"nats://"):
        assert word not in text
