"""What a process says to systemd, and when it says nothing."""

import asyncio
import os
import time
from pathlib import Path

from fleet.events import EngineLost, NodeDraining, NodeReady, NodeResumed, NodeStopped
from fleet.systemd import Unit
from tests.deploy.listening import Manager, systemd


def unit(manager: Manager, *, watchdog_s: float | None = None) -> Unit:
    return Unit(manager.address, watchdog_s=watchdog_s)


def words(manager: Manager, told: Unit) -> list[str]:
    """Everything that was said so far: datagrams come in order."""
    end = f"end {time.monotonic_ns()}"
    told.ready(end)
    manager.until(f"STATUS={end}")
    return [word.text for word in manager.since()][:-2]


def test_a_start_that_goes_on_asks_for_more_time_and_a_started_one_feeds_the_watchdog(
    tmp_path: Path,
) -> None:
    with systemd(tmp_path) as manager:
        told = unit(manager)
        told.alive()
        told.hear(NodeReady(at=0, node="n", load_s=1))
        told.alive()
        assert words(manager, told) == [
            "EXTEND_TIMEOUT_USEC=120000000", "READY=1", "STATUS=working", "WATCHDOG=1",
        ]  # fmt: skip


def test_people_are_told_what_became_of_a_consumer(tmp_path: Path) -> None:
    with systemd(tmp_path, abstract=True) as manager:
        told = unit(manager)
        told.hear(
            NodeDraining(
                at=0, node="n", cause="aws", left_s=9, jobs=1, items_to_finish=0, items_to_save=1
            )
        )
        told.hear(NodeResumed(at=0, node="n", source="aws"))
        told.hear(EngineLost(at=0, node="n", reason="killed", restarts=True))
        told.hear(NodeStopped(at=0, node="n", cause="a\nREADY=1", tokens_generated=0))
        assert words(manager, told) == [
            "STATUS=draining: aws", "STATUS=working", "STATUS=the engine is gone",
            "STOPPING=1", "STATUS=drained",
        ]  # fmt: skip


def test_a_cause_from_outside_is_no_second_word(tmp_path: Path) -> None:
    with systemd(tmp_path) as manager:
        told = unit(manager)
        told.ready("x\nMAINPID=1")
        assert words(manager, told) == ["READY=1", "STATUS=x MAINPID=1"]


async def test_the_watchdog_starves_while_anything_is_ill(tmp_path: Path) -> None:
    ill: str | None = None
    asked = asyncio.Event()

    def look() -> str | None:
        asked.set()
        return ill

    with systemd(tmp_path) as manager:
        told = unit(manager, watchdog_s=0.04)
        told.ready("working")
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(told.watch(look))
            await asyncio.to_thread(manager.until, "WATCHDOG=1")
            ill = "the engine is gone"
            fed = words(manager, told).count("WATCHDOG=1")
            for _ in range(5):
                asked.clear()
                await asked.wait()
            assert words(manager, told).count("WATCHDOG=1") == fed
            watching.cancel()


async def test_nothing_is_said_where_nobody_listens(tmp_path: Path) -> None:
    silent = Unit.of({})
    silent.ready("working")
    async with asyncio.timeout(5):
        await silent.watch(lambda: None)
    # A socket that is gone costs a line in the log, and no job.
    Unit(str(tmp_path / "gone")).ready("working")


def test_a_child_that_inherits_the_watchdog_of_its_parent_has_none_of_its_own() -> None:
    theirs = Unit.of({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"})
    ours = Unit.of(
        {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}
    )
    broken = Unit.of({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "often"})
    assert [theirs.every_s, ours.every_s, broken.every_s] == [10.0, 1.0, 10.0]
