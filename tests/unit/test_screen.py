"""The screen, key by key, without a terminal."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Final

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from dashboard.app import Dashboard
from dashboard.model import NodeRow
from dashboard.screens.main import VIEWS
from dashboard.snapshot import FleetSnapshot
from fleet.errors import BrokerUnreachable, NotFound
from tests import made_up
from tests.screens import Timer, Told, a_story, dashboard, seen

SIZE: Final = (100, 30)


class Failing(Told):
    """A source that cannot begin."""

    async def snapshots(self) -> AsyncGenerator[FleetSnapshot]:
        raise BrokerUnreachable("nobody answers at nats://127.0.0.1:1")
        yield


async def press(pilot: Pilot[None], *keys: str) -> str:
    """Press keys and read the screen."""
    await pilot.press(*keys)
    await pilot.pause()
    assert isinstance(pilot.app, Dashboard)
    return seen(pilot.app)


async def until(pilot: Pilot[None], *words: str) -> str:
    """Wait, within bounds, for what is said a moment later."""
    for _ in range(100):
        await pilot.pause()
        if all(word in seen_of(pilot) for word in words):
            return seen_of(pilot)
        await asyncio.sleep(0.02)
    raise AssertionError(f"{words} did not come:\n{seen_of(pilot)}")


async def test_each_number_shows_its_view() -> None:
    async with dashboard(made_up.snapshot()).run_test(size=SIZE) as pilot:
        words = {"2": "waiting", "3": "progress", "4": "lost: rework", "5": "UTC", "6": "Views"}
        for key, word in words.items():
            assert word in await press(pilot, key)


async def test_a_filter_narrows_at_every_letter_and_esc_takes_it_away() -> None:
    async with dashboard(made_up.snapshot()).run_test(size=SIZE) as pilot:
        assert "on-demand" not in await press(pilot, *"/spot")
        assert "1 of 9, 12 listed" in await press(pilot, "enter")
        assert "1 of 12" in await press(pilot, "escape")
        assert "node-0006" not in await press(pilot, *"/!spot", "enter")


async def test_a_filter_stays_in_the_view_in_which_it_was_typed() -> None:
    async with dashboard(made_up.snapshot()).run_test(size=SIZE) as pilot:
        await press(pilot, *"/spot")
        await pilot.app.run_action("view('queue')")
        assert "/spot" not in await press(pilot)
        assert "/spot" in await press(pilot, "1")


async def test_where_only_the_oldest_jobs_are_listed_it_says_of_how_many() -> None:
    made = replace(made_up.snapshot(), jobs_in_all=12_345)
    async with dashboard(made).run_test(size=SIZE) as pilot:
        assert "1 of 40   the oldest of 12345" in await press(pilot, "3")


async def test_a_filter_that_is_no_expression_says_so_and_changes_nothing() -> None:
    async with dashboard(made_up.snapshot()).run_test(size=SIZE) as pilot:
        shown = await press(pilot, *"/spot(")
        assert "no regular expression" in shown
        assert "on-demand" not in shown


async def test_sorting_goes_on_to_the_next_column_and_can_be_turned_round() -> None:
    async with dashboard(made_up.snapshot()).run_test(size=SIZE) as pilot:
        rows = (await press(pilot, "s")).splitlines()
        assert any(row.startswith("▲node") for row in rows)
        first = next(row for row in rows if row.startswith("node-"))
        assert first.startswith("node-0000")
        rows = (await press(pilot, "S")).splitlines()
        assert next(row for row in rows if row.startswith("node-")).startswith("node-0011")


async def test_rows_are_walked_by_keys_and_by_the_mouse() -> None:
    async with dashboard(made_up.snapshot(nodes=100)).run_test(size=SIZE) as pilot:
        assert "100 of 100" in await press(pilot, "G")
        assert "99 of 100" in await press(pilot, "k")
        assert "1 of 100" in await press(pilot, "g")
        assert "21 of 100" in await press(pilot, "pagedown")
        await pilot.click("#fleet", offset=(3, 4))
        assert "5 of 100" in await press(pilot)
        await pilot.click("#fleet", offset=(3, 0))
        assert "by node" in await press(pilot)
        await pilot.click("#fleet", offset=(3, 0))
        assert "by node, reversed" in await press(pilot)
        await pilot.click("#fleet", offset=(3, 2), times=2)
        assert "Esc back" in await press(pilot)


async def test_the_cursor_stays_with_its_row_whatever_goes_on_around_it() -> None:
    made, timer = made_up.snapshot(), Timer()
    source = Told(made)
    app = Dashboard(source, timer=timer)
    async with app.run_test(size=SIZE) as pilot:
        assert "4 of 12" in await press(pilot, "j", "j", "j")
        assert named(app) == "node-0003"
        timer.now += 1
        source.tell(replace(made, nodes=made.nodes[1:]))
        await until(pilot, "3 of 11")
        assert named(app) == "node-0003"
        timer.now += 1
        source.tell(replace(made, nodes=made.nodes[4:]))
        await until(pilot, "of 8")
        assert named(app) == "node-0006"  # its own is gone: the one that stands there now
        timer.now += 1
        source.tell(replace(made, nodes=()))
        await until(pilot, "No node is alive")
        assert app.row is None


def named(app: Dashboard) -> str:
    """Name the node under the cursor."""
    assert isinstance(app.row, NodeRow)
    return app.row.node


async def test_frozen_stands_still_and_says_so() -> None:
    source, timer = Told(made_up.snapshot()), Timer()
    app = Dashboard(source, timer=timer)
    async with app.run_test(size=SIZE) as pilot:
        assert "FROZEN" in await press(pilot, "f")
        timer.now += 30
        source.tell(FleetSnapshot(at=made_up.NOW + 30, read_at={"nodes": made_up.NOW + 30}))
        assert "node-0000" in await until(pilot, "30s old")
        assert "No node is alive" in await press(pilot, "f")


async def test_the_window_stands_beside_each_rate() -> None:
    async with dashboard(made_up.snapshot()).run_test(size=SIZE) as pilot:
        assert "tok/s 1m" in seen_of(pilot)
        assert "tok/s 5m" in await press(pilot, "t")
        assert "tok/s 1h" in await press(pilot, "t")
        assert "jobs/s 1h" in await press(pilot, "2")


async def test_the_interval_has_a_second_as_its_least() -> None:
    source = Told(made_up.snapshot())
    app = Dashboard(source, timer=Timer())
    async with app.run_test(size=SIZE) as pilot:
        assert "every 5s" in await press(pilot, "+", "+")
        assert source.interval_s == 5.0
        assert "every 1s" in await press(pilot, *"----")
        assert source.interval_s == 1.0


async def test_a_row_is_copied_as_json() -> None:
    app = dashboard(made_up.snapshot())
    async with app.run_test(size=SIZE) as pilot:
        for key in "12345":
            await press(pilot, key, "y")
            assert isinstance(json.loads(app.clipboard), dict)


async def test_enter_tells_a_jobs_life_and_esc_leads_back() -> None:
    async with dashboard(made_up.snapshot()).run_test(size=SIZE) as pilot:
        shown = await press(pilot, "3", "enter")
        for words in ("job-000006", "nothing of it was saved", "interrupted: aws", "aborted"):
            assert words in shown
        assert "job-000021" in await press(pilot, "escape")


async def test_a_life_that_cannot_be_read_says_why() -> None:
    source = Told(made_up.snapshot(), stories=[NotFound("no such job: it has ended")])
    async with Dashboard(source, timer=Timer()).run_test(size=SIZE) as pilot:
        assert "no such job: it has ended" in await press(pilot, "3", "enter")


async def test_a_page_of_what_has_ended_says_that_it_is_no_longer_listed() -> None:
    made, timer = made_up.snapshot(), Timer()
    source = Told(made, stories=[a_story("globex", "job-000006", None)])
    async with Dashboard(source, timer=timer).run_test(size=SIZE) as pilot:
        await press(pilot, "3", "enter")
        timer.now += 1
        source.tell(replace(made, jobs=()))
        await until(pilot, "no longer listed")


async def test_every_row_of_every_view_has_a_page() -> None:
    async with dashboard(made_up.snapshot()).run_test(size=SIZE) as pilot:
        for key in "12345":
            assert "Esc back" in await press(pilot, key, "enter"), key
        assert "batch nightly" in await press(pilot, "3", "tab", "enter")


async def test_nobody_acts_unless_it_was_allowed() -> None:
    async with dashboard(made_up.snapshot()).run_test(size=SIZE, notifications=True) as pilot:
        for key in "DPRXK":
            await pilot.press(key)
            await until(pilot, "read-only: start")
            pilot.app.clear_notifications()


async def test_the_age_of_the_data_grows_while_nothing_comes() -> None:
    timer = Timer()
    async with dashboard(made_up.snapshot(), timer=timer).run_test(size=SIZE) as pilot:
        assert "0.4s old" in seen_of(pilot)
        timer.now += 43
        assert "43s old" in await press(pilot, "t")


async def test_more_than_one_snapshot_a_second_is_not_drawn() -> None:
    source, timer = Told(made_up.snapshot()), Timer()
    async with Dashboard(source, timer=timer).run_test(size=SIZE) as pilot:
        timer.now += 0.5
        source.tell(FleetSnapshot(at=made_up.NOW + 0.5))
        await pilot.pause()
        assert "node-0000" in seen_of(pilot)
        timer.now += 0.5
        source.tell(FleetSnapshot(at=made_up.NOW + 1))
        assert "node-0000" not in await until(pilot, "No node is alive")


async def test_a_source_that_fails_for_good_ends_the_screen_with_its_error() -> None:
    app = Dashboard(Failing())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
    assert isinstance(app.failure, ExceptionGroup)
    assert "nobody answers" in str(app.failure.exceptions[0])


async def test_the_end_of_a_recording_is_said() -> None:
    source = Told(made_up.snapshot())
    source.tell(None)
    async with Dashboard(source, is_live=False, timer=Timer()).run_test(size=SIZE) as pilot:
        await until(pilot, "the recording ends here", "recorded")
        assert "nobody can act on it" in await press(pilot, "D")


async def test_the_help_is_made_of_the_bindings() -> None:
    app = dashboard(made_up.snapshot())
    async with app.run_test(size=(120, 60)) as pilot:
        shown = await press(pilot, "?")
        for binding in app.ALL_KEYS:
            assert binding.tooltip.split(";")[0] in " ".join(shown.split()), binding


async def test_the_palette_finds_a_command_by_its_name() -> None:
    async with dashboard(made_up.snapshot()).run_test(size=SIZE) as pilot:
        await press(pilot, "ctrl+p")
        await press(pilot, *"window")
        assert "Rates and plots over" in seen_of(pilot)


@pytest.mark.parametrize("size", [(20, 6), (300, 80)])
async def test_any_size_of_a_terminal_will_do(size: tuple[int, int]) -> None:
    async with dashboard(made_up.snapshot()).run_test(size=size) as pilot:
        for n in range(len(VIEWS)):
            await press(pilot, str(n + 1), "enter", "escape")
        await pilot.resize_terminal(80, 24)
        assert "node-0000" in await press(pilot, "1")


def seen_of(pilot: Pilot[None]) -> str:
    assert isinstance(pilot.app, Dashboard)
    return seen(pilot.app)
