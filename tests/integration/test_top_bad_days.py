"""`fleet top` in a real terminal on bad days: no broker, no fleet, nodes that come and go."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from fleet.broker.connection import Connection
from fleet.broker.dead import DeadLetters
from fleet.broker.eventlog import store_event
from fleet.broker.nodes import Nodes
from fleet.broker.provision import provision
from fleet.events import EngineLost, JobDead, NodeDraining
from fleet.node import Node
from tests.asking import MODEL, Asker, chat
from tests.integration.brokers import connected
from tests.server import nats_server
from tests.terminal import Terminal, terminal

VIEWS = ("1", "2", "3", "4", "5", "6")
HOSTILE = (
    "[/red]", "[@click=app.quit]x[/]", "\x1b]52;c;ZXZpbA==\x07", "\x1b[2J\x1b]0;evil\x07",
    "\u202egnp.exe", "a\nb\tc", "\ufdfd" * 40, "x" * 10_000,
)  # fmt: skip
BEAT_S = 0.3


def beat(name: str, **more: object) -> Node:
    """Make a heartbeat."""
    node = Node(
        node=name, pid=1, host="h", capacity_type="spot", zone="a", model=MODEL, engine="none",
        state="ready", started_at=time.time() - 60, at=time.time(), slots=8,
    )  # fmt: skip
    return msgspec.structs.replace(node, **more)


@asynccontextmanager
async def beating(connection: Connection, *nodes: Node) -> AsyncIterator[None]:
    """Let nodes live while the body runs; then their keys expire."""

    async def live() -> None:
        while True:
            for node in nodes:
                await Nodes(connection).beat(msgspec.structs.replace(node, at=time.time()), 2)
            await asyncio.sleep(BEAT_S)

    async with asyncio.TaskGroup() as group:
        alive = group.create_task(live())
        yield
        alive.cancel()


def top(url: str) -> list[str]:
    return [sys.executable, "-m", "fleet", "top", "--nats", url]


async def test_a_broker_that_goes_and_comes_back_is_seen_to_do_so(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats") as server:
        async with connected(server.url) as connection:
            await provision(connection, [MODEL])
            with terminal(tmp_path, top(server.url)) as screen:
                async with beating(connection, beat("node-before")):
                    await asyncio.to_thread(screen.shows, "node-before", "live")
                server.process.kill()
                server.process.wait()
                seen = await asyncio.to_thread(screen.shows, "no broker")
                assert "node-before" in seen, "what was known is still shown"
                with nats_server(tmp_path / "nats", port=server.port):
                    await connection.up()
                    async with beating(connection, beat("node-after")):
                        await asyncio.to_thread(screen.shows, "node-after", "live")
                        await asyncio.to_thread(leave, screen)


async def test_a_broker_without_streams_says_what_is_missing_and_an_empty_fleet_is_no_trouble(
    tmp_path: Path,
) -> None:
    with (
        nats_server(tmp_path / "nats") as server,
        terminal(tmp_path, top(server.url), size=(80, 24)) as screen,
    ):
        await asyncio.to_thread(screen.shows, "fleet init")
        async with connected(server.url) as connection:
            await provision(connection, [])
        await asyncio.to_thread(screen.lacks, "fleet init")
        await asyncio.to_thread(look_at_everything, screen)


async def test_a_node_that_flaps_is_lost_and_found_as_often_as_it_is(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats") as server:
        async with connected(server.url) as connection:
            await provision(connection, [MODEL])
            with terminal(tmp_path, top(server.url), size=(80, 24)) as screen:
                async with beating(connection, beat("steady")):
                    for _ in range(2):
                        async with beating(connection, beat("flaps")):
                            await asyncio.to_thread(screen.until, is_ready("flaps"), "its row")
                        await asyncio.to_thread(screen.until, is_lost("flaps"), "its loss")
                    await asyncio.to_thread(leave, screen)


async def test_hostile_words_in_every_field_are_shown_and_not_obeyed(
    tmp_path: Path, unique: str
) -> None:
    with nats_server(tmp_path / "nats") as server:
        async with connected(server.url) as connection:
            await provision(connection, [MODEL])
            nodes = [_hostile_node(number, text) for number, text in enumerate(HOSTILE)]
            for text in HOSTILE:
                await _hostile_news(connection, unique, text)
            await Asker(connection, unique).publish("batch", chat("x"))
            with terminal(tmp_path, top(server.url), size=(80, 24)) as screen:
                async with beating(connection, *nodes):
                    await asyncio.to_thread(screen.shows, "n-0")
                    await asyncio.to_thread(look_at_everything, screen)


def _hostile_node(number: int, text: str) -> Node:
    return beat(f"n-{number}", zone=text, model=text, engine=text, host=text, notice=text,
                leaves_at=time.time() + 100, instance_type=text)  # fmt: skip


async def _hostile_news(connection: Connection, tenant: str, text: str) -> None:
    at = time.time()
    for event in (
        EngineLost(at=at, node=text, reason=text, restarts=False),
        NodeDraining(at=at, node=text, cause=text, left_s=1.0, jobs=1),
        JobDead(at=at, node=text, tenant=text, job=text, code=text, reason=text),
    ):
        await store_event(connection, event, msg_id=f"{hash((text, type(event)))}")
    await DeadLetters(connection).bury(
        subject=f"jobs.batch.{MODEL}.{tenant}", payload=b"{}", headers={"Fleet-Job-Id": "j"},
        reason=text, code=text, tenant=tenant, job="j", stream="JOBS_BATCH",
        sequence=abs(hash(text)) % 1000,
    )  # fmt: skip


def look_at_everything(screen: Terminal) -> None:
    """Open each view and its first row; nothing of it may end the screen or steer the terminal."""
    for view in VIEWS:
        screen.type(view, "j", "Enter", "Escape", "s", "G", "y")
    screen.type("1")
    screen.filter("[")
    screen.type("Escape", "2")
    screen.shows("tier")
    assert "evil" not in screen.title()
    leave(screen)


def leave(screen: Terminal) -> None:
    screen.type("q")
    assert screen.ended() == 0, screen.screen()


def is_ready(node: str) -> Callable[[str], bool]:
    return lambda text: any(node in line and "ready" in line for line in text.splitlines())


def is_lost(node: str) -> Callable[[str], bool]:
    return lambda text: any(
        node in line and "lost" in line and "without a word" not in line
        for line in text.splitlines()
    )
