"""A broker comes back to two hundred consumers and a thousand producers who all waited for it."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Server

from fleet.broker import dial
from fleet.broker.client import pick_server
from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from fleet.broker.queue import Puller
from tests.asking import eventually
from tests.integration.brokers import connected
from tests.server import nats_server

CONSUMERS = 200
PRODUCERS = 1000
JOBS = 100
AT_ONCE = 50
DOWN_S = 2.0
BACK_S = 60.0
WORKS_S = 60.0
# Without jitter they would all wait equally long. The first waits are of a tenth of a second.
SPREAD_S = 0.03


async def test_all_are_back_soon_after_a_restart_and_not_at_the_same_moment(
    tmp_path: Path, say: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What each waited for last, and when it wanted to come then: on a machine that is busy many
    # wake at once, whatever they chose. A client looks for its server in a task of its own.
    chosen: dict[asyncio.Task[object] | None, tuple[float, float]] = {}

    def choose(servers: list[Server], about: dict[str, Any]) -> tuple[Server, float]:
        server, delay_s = pick_server(servers, about)
        chosen[asyncio.current_task()] = delay_s, time.monotonic() + delay_s
        return server, delay_s

    monkeypatch.setattr(dial, "pick_server", choose)
    with ExitStack() as servers:
        server = servers.enter_context(nats_server(tmp_path))
        async with AsyncExitStack() as stack:
            crowd = await entered(stack, server.url, CONSUMERS + PRODUCERS)
            await provision(crowd[0], ["m"])
            pullers = [await stack.enter_async_context(pulling(one)) for one in crowd[:CONSUMERS]]
            for number, producer in enumerate(crowd[CONSUMERS:]):
                await producer.subscribe(f"results.t._.job{number}", lambda _: None)
            back: list[float] = []
            for one in crowd:
                one.on_reconnect(lambda: back.append(time.monotonic()))

            chosen.clear()
            server.process.kill()
            server.process.wait()
            await asyncio.sleep(DOWN_S)
            # In a thread: the clients have to notice, and to try in vain.
            again = nats_server(tmp_path, port=server.port)
            server = await asyncio.to_thread(servers.enter_context, again)
            began, cpu = time.monotonic(), cpu_s(server.process.pid)
            await eventually(lambda: all_back(crowd, back), "everybody", bound_s=BACK_S)
            took_s = time.monotonic() - began
            used_s = cpu_s(server.process.pid) - cpu
            delays, wanted = zip(*chosen.values(), strict=True)
            served_s = await served(crowd[-1], pullers)
        say(
            f"herd: {len(crowd)} clients back within {took_s:.1f} s, the middle half of them "
            f"spread over {middle_of(back):.2f} s; the server used {used_s:.1f} s of a processor; "
            f"{JOBS} jobs then took {served_s:.1f} s"
        )
    assert len(delays) >= len(crowd)
    assert middle_of(delays) > SPREAD_S
    # And none came before it wanted to.
    pairs = zip(sorted(back), sorted(wanted), strict=False)
    assert all(came > at - 0.01 for came, at in pairs)


def middle_of(times: Sequence[float]) -> float:
    """How far apart the first and the last of the middle half are."""
    ordered = sorted(times)
    return ordered[len(ordered) * 3 // 4] - ordered[len(ordered) // 4]


async def all_back(crowd: list[Connection], back: list[float]) -> bool:
    return len(back) >= len(crowd) and all(one.connected for one in crowd)


async def entered(stack: AsyncExitStack, url: str, count: int) -> list[Connection]:
    """Connect so many clients."""
    crowd: list[Connection] = []
    for _ in range(0, count, AT_ONCE):
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(stack.enter_async_context(connected(url))) for _ in range(AT_ONCE)
            ]
        crowd += [task.result() for task in tasks]
    return crowd


def pulling(connection: Connection) -> Puller:
    return Puller(
        connection, stream="JOBS_BATCH", durable="batch_m", group=None, priority=None,
        expires_s=5.0, heartbeat_s=1.0,
    )  # fmt: skip


async def served(producer: Connection, pullers: list[Puller]) -> float:
    """Publish jobs and let the consumers take them all; return the seconds."""
    began = time.monotonic()
    taken: set[str] = set()
    for number in range(JOBS):
        await producer.append("jobs.batch.m.t", b"{}", headers={"Fleet-Job-Id": f"job{number}"})

    async def work(puller: Puller) -> None:
        while len(taken) < JOBS:
            if puller.outstanding == 0:
                await puller.ask(1)
            if delivery := await puller.next():
                await delivery.ack()
                taken.add(delivery.headers["Fleet-Job-Id"])

    async with asyncio.timeout(WORKS_S), asyncio.TaskGroup() as group:
        tasks = [group.create_task(work(puller)) for puller in pullers]
        await eventually(lambda: enough(taken), "all jobs", bound_s=WORKS_S)
        for task in tasks:
            task.cancel()
    return time.monotonic() - began


async def enough(taken: set[str]) -> bool:
    return len(taken) == JOBS


def cpu_s(pid: int) -> float:
    """Seconds of a processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
