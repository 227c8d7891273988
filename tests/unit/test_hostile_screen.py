"""Whatever stands in a field, the screen shows it and does not obey it."""

import unicodedata
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Final

import pytest
from msgspec.structs import replace

from dashboard.app import Dashboard
from dashboard.findings import alarms
from dashboard.look import Look
from dashboard.snapshot import FleetSnapshot, Part, Step, Story
from fleet.errors import NotFound
from tests import made_up
from tests.screens import Timer, Told, seen

HOSTILE: Final = (
    "[/red]",
    "[@click=app.quit]x[/]",
    "[bold",
    "\x1b]52;c;aGk=\x07",
    "\x1b[2J\x1b[H",
    "\x9b31m\x90",
    "\u202egnp.exe\u2066",
    "a\r\nb\tc\x00",
    "\ud800",
    "e" + "\u0301" * 400,
    "日本語" * 100,
    "x" * 10_000,
)
READ: Final = made_up.NOW
NOTHING: Final[dict[Part, float]] = {"nodes": READ, "queues": READ, "jobs": READ}


def hostile(names: Iterator[str]) -> Callable[[str], str]:
    """Put something hostile before every foreign string; what follows keeps them apart."""
    return lambda text: f"{next(names)}{text}"


def told(say: Callable[[str], str]) -> Story:
    """Make a job's life that says nothing good."""
    steps = tuple(Step(at=made_up.NOW, what=say("what"), node=say("node")) for _ in HOSTILE)
    errors = tuple(say("error") for _ in HOSTILE)
    return Story(tenant=say("t"), job=say("j"), batch=say("b"), why=(say("why"),), steps=steps,
                 errors=errors)  # fmt: skip


@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
async def test_no_view_and_no_page_obeys_what_it_shows(*, ascii_only: bool) -> None:
    say = hostile(cycle(HOSTILE))
    made = made_up.snapshot(say=say)
    made = replace(made, troubles={"nodes": say("trouble"), "jobs": say("trouble")})
    app = Dashboard(Told(made, stories=[told(say)]), look=Look(ascii_only), timer=Timer())
    async with app.run_test(size=(140, 40)) as pilot:
        for keys in ("1", "2", "3", "4", "5", "6"):
            await pilot.press(keys)
            await pilot.pause()
            check(app, ascii_only=ascii_only)
            for key in ("enter", "y", "escape", "j"):
                await pilot.press(key)
                await pilot.pause()
                check(app, ascii_only=ascii_only)
        await pilot.press("1")
        await pilot.click("#fleet", offset=(2, 3))
        await pilot.click("#fleet", offset=(2, 3), times=2)
        await pilot.pause()
        check(app, ascii_only=ascii_only)
        assert app.is_running


async def test_a_hostile_error_is_shown_as_it_is() -> None:
    source = Told(made_up.snapshot(), stories=[NotFound(f"no job {text}") for text in HOSTILE])
    app = Dashboard(source, timer=Timer())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        for _ in HOSTILE:
            await pilot.press("enter")
            await pilot.pause()
            assert "no job" in check(app)
            await pilot.press("escape")


def test_alarms_of_a_hostile_fleet_are_alarms_of_a_fleet() -> None:
    made = made_up.snapshot(say=hostile(cycle(HOSTILE)))
    kinds = {one.name for one in alarms(made)}
    assert kinds >= {"nodes_leaving", "nodes_lost", "jobs_still"}


async def test_what_is_not_known_is_a_dash_and_never_0() -> None:
    nodes = tuple(
        replace(
            fact,
            node=replace(
                fact.node, price_usd_per_hour=None, kv_cache=None, leaves_at=None, notice=""
            ),
            tokens_per_s=replace(fact.tokens_per_s, minute=None),
        )
        for fact in made_up.snapshot().nodes[:1]
    )
    app = Dashboard(Told(FleetSnapshot(at=made_up.NOW, read_at=NOTHING, nodes=nodes)))
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.pause()
        row = next(line for line in seen(app).splitlines() if line.startswith("node-0000"))
        assert row.split().count("-") == 4  # tokens a second, price, price of a token, KV cache
        assert "-/h" in seen(app)
        assert "- waiting" in seen(app)


async def test_a_fleet_that_was_never_read_is_not_a_fleet_of_nothing() -> None:
    app = Dashboard(Told(FleetSnapshot(at=made_up.NOW, troubles={"nodes": "no right to read"})))
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.pause()
        assert "never read" in seen(app)
        assert "no right to read" in seen(app)
        assert "0/0" not in seen(app)


def check(app: Dashboard, *, ascii_only: bool = False) -> str:
    """Look at every cell: no control, no turn of direction, no line that is too long."""
    shown = seen(app)
    lines = shown.split("\n")
    assert len(lines) == app.size.height
    for line in lines:
        bad = [c for c in line if unicodedata.category(c)[0] == "C" or c in "\u2028\u2029"]
        assert not bad, (bad, line)
        assert line.encode()
    if ascii_only:
        assert shown.isascii(), [c for c in shown if not c.isascii()]
    return shown
