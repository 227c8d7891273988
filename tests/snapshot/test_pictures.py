"""Every view at every size, as a picture that somebody looked at before it was accepted.

After a change that is meant: `just test-all tests/snapshot --snapshot-update`, then look at them.
"""

from collections.abc import Callable

import pytest
from msgspec.structs import replace
from textual.app import App

from dashboard.recorded import read
from dashboard.screens.main import VIEWS
from dashboard.snapshot import PARTS, FleetSnapshot
from fleet.cli.top import incident
from tests import made_up
from tests.screens import dashboard

Compare = Callable[..., bool]
MOMENT = 62
SIZES = ((80, 24), (100, 30), (200, 50))


@pytest.fixture(autouse=True)
def a_plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may like other colours."""
    for name in ("NO_COLOR", "TEXTUAL_THEME", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def recorded() -> FleetSnapshot:
    """The fleet that ships as a recording, a minute into its trouble."""
    return list(read(incident()))[MOMENT]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("view", VIEWS)
def test_a_view(
    snap_compare: Compare, recorded: FleetSnapshot, view: str, size: tuple[int, int]
) -> None:
    key = str(VIEWS.index(view) + 1)
    assert snap_compare(dashboard(recorded), press=[key], terminal_size=size)


def test_the_page_of_a_job(snap_compare: Compare) -> None:
    assert snap_compare(dashboard(made_up.snapshot()), press=["3", "enter"])


def test_the_page_of_a_node(snap_compare: Compare) -> None:
    assert snap_compare(dashboard(made_up.snapshot()), press=["G", "k", "enter"])


def test_a_filter_that_is_typed(snap_compare: Compare) -> None:
    assert snap_compare(dashboard(made_up.snapshot()), press=["/", "s", "p", "o", "t"])


def test_a_fleet_of_nothing(snap_compare: Compare) -> None:
    nothing = FleetSnapshot(at=made_up.NOW, read_at=dict.fromkeys(PARTS, made_up.NOW))
    assert snap_compare(dashboard(nothing))


def test_a_broker_that_is_gone(snap_compare: Compare) -> None:
    gone = replace(
        made_up.snapshot(),
        at=made_up.NOW + 43,
        connected=False,
        troubles={"nodes": "the broker at nats://127.0.0.1:4222 does not answer"},
    )
    assert snap_compare(dashboard(gone))


def test_ascii_alone(snap_compare: Compare) -> None:
    assert snap_compare(dashboard(made_up.snapshot(), ascii_only=True), press=["3"])


def test_light_ground(snap_compare: Compare) -> None:
    app = dashboard(made_up.snapshot())
    app.theme = "overbook-light"
    assert snap_compare(app, press=["3"])


def test_no_colour(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app: App[None] = dashboard(made_up.snapshot())
    assert snap_compare(app)


def test_the_terminals_own_colours(snap_compare: Compare, recorded: FleetSnapshot) -> None:
    app = dashboard(recorded)
    app.theme = "ansi-dark"
    assert snap_compare(app, press=["3"])
