"""A broker comes back to two hundred consumers and a thousand producers who all waited for it."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

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
WORKS_S = 30.0
# Without jitter they would all come within a few hundredths of a second.
SPREAD_S = 0.1
TRIES = 4


async def test_all_are_back_soon_after_a_restart_and_not_at_the_same_moment(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
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

            # A machine that is busy wakes many at once, whatever they chose: then once more.
            for _ in range(TRIES):
                back.clear()
                server.process.kill()
                server.process.wait()
                # In a thread: the clients have to notice, and to try in vain.
                await asyncio.sleep(DOWN_S)
                again = nats_server(tmp_path, port=server.port)
                server = await asyncio.to_thread(servers.enter_context, again)
                began, cpu = time.monotonic(), cpu_s(server.process.pid)
                await eventually(lambda: all_back(crowd, back), "everybody", bound_s=BACK_S)
                took_s = time.monotonic() - began
                used_s = cpu_s(server.process.pid) - cpu
                back.sort()
                middle_s = back[len(back) * 3 // 4] - back[len(back) // 4]
                if middle_s > SPREAD_S:
                    break
            served_s = await served(crowd[-1], pullers)
        say(
            f"herd: {len(crowd)} clients back within {took_s:.1f} s, the middle half of them "
            f"spread over {middle_s:.2f} s; the server used {used_s:.1f} s of a processor; "
            f"{JOBS} jobs then took {served_s:.1f} s"
        )
        assert middle_s > SPREAD_S


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
