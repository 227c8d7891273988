"""What an account for each tenant costs, against the same work inside the fleet's own account.

One server that syncs every write; 1 KiB jobs, published in turns by the operator inside the account
and by a tenant through its import: one at a time, 64 at a time, and in atomic batches of 200. The
newest result of a job is read by both, and a page of 256 by way of the fleet. Then a server with
accounts for many tenants: how long it takes to start and to read one tenant more, and its memory.
"""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from fleet.broker.batch_publish import Outgoing, publish_batch
from fleet.broker.beside import Beside
from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from fleet.broker.stored import last_message, messages
from fleet.broker.tenant_reads import serve_reads
from fleet.errors import BrokerRefused
from fleet.tenancy.register import Key, Register, Tenant
from fleet.tenancy.render import render
from tests.bench.report import Figure, Options, median, ratio, say
from tests.tenants import connected_as, key, register, server_with_accounts

BODY: Final = b"x" * 1024
AT_ONCE: Final = 64
GROUP: Final = 200
RESULTS: Final = 256
TENANTS: Final = (10, 100, 400)
SYNC: Final = 'jetstream {{ store_dir: "{store}", max_file_store: 64G, sync_interval: always }}'
Work = Callable[[Connection, str], Awaitable[float]]


async def measure(options: Options) -> Sequence[Figure]:
    """Give both sides their turns, then make the number of tenants grow."""
    jobs = options.jobs or (400 if options.quick else 4_000)
    rounds = options.rounds or (1 if options.quick else 5)
    figures: list[Figure] = []
    async with sides() as (operator, acme):
        for name, unit, work in _works(jobs):
            inside: list[float] = []
            across: list[float] = []
            for number in range(rounds + 1):
                one = await work(operator, "jobs.batch.m.acme")
                other = await work(acme, "jobs.batch.m")
                if number:  # the first turn is for warming up
                    inside.append(one)
                    across.append(other)
            say(f"  {name}: {inside[-1]:.4g} inside, {across[-1]:.4g} {unit} across accounts")
            figures += [
                ratio(f"{name}_across_to_inside", across, inside),
                median(f"{name}_inside", inside, unit),
                median(f"{name}_across", across, unit),
            ]
    for number in TENANTS[: 1 if options.quick else None]:
        figures += await _many(number)
    return figures


@asynccontextmanager
async def sides() -> AsyncIterator[tuple[Connection, Connection]]:
    """Connect inside and across, to a fleet that has some results."""
    with tempfile.TemporaryDirectory(prefix="overbook-bench-") as name:
        folder = Path(name)
        config = SYNC.format(store=folder / "store")
        with server_with_accounts(folder, config=config) as server:
            async with (
                connected_as("@operator", server.url, folder) as operator,
                connected_as("@sweep", server.url, folder) as sweep,
                connected_as("acme", server.url, folder) as acme,
            ):
                await provision(operator, ["m"])
                for _ in range(RESULTS):
                    await operator.append("results.acme._.job", BODY)
                async with Beside(serve_reads(sweep)):
                    await sweep.api("INFO")
                    yield operator, acme


def _works(jobs: int) -> Sequence[tuple[str, str, Work]]:
    async def one_by_one(connection: Connection, subject: str) -> float:
        return await _rate(jobs // 8, lambda _: connection.append(subject, BODY), at_once=1)

    async def many(connection: Connection, subject: str) -> float:
        return await _rate(jobs, lambda _: connection.append(subject, BODY), at_once=AT_ONCE)

    async def groups(connection: Connection, subject: str) -> float:
        group: list[Outgoing] = [(subject, BODY, {})] * GROUP
        work = lambda _: publish_batch(connection, group)  # noqa: E731 - as the two above
        return await _rate(jobs // GROUP, work, at_once=1) * GROUP

    async def newest(connection: Connection, _: str) -> float:
        subject = "results.acme._.job"
        return await _rate(jobs, lambda _: last_message(connection, "RESULTS", subject), at_once=1)

    async def page(connection: Connection, _: str) -> float:
        async def read(_: int) -> None:
            found = [one async for one in messages(connection, "RESULTS", "results.acme.>")]
            if len(found) != RESULTS:
                raise BrokerRefused(f"{len(found)} results came")

        return await _rate(max(2, jobs // RESULTS), read, at_once=1) * RESULTS

    return (
        ("publish_one_by_one", "jobs/s", one_by_one),
        ("publish_64_at_once", "jobs/s", many),
        ("publish_in_batches", "jobs/s", groups),
        ("read_newest", "reads/s", newest),
        ("read_pages", "messages/s", page),
    )


async def _rate(count: int, work: Callable[[int], Awaitable[object]], *, at_once: int) -> float:
    """Do something `count` times, `at_once` of them at a time; return how often a second."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await work(number)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())
    return count / (time.perf_counter() - began)


async def _many(number: int) -> Sequence[Figure]:
    """Run a server with many tenants, and give it one more while it runs."""
    most = _with_tenants(number)
    with tempfile.TemporaryDirectory(prefix="overbook-bench-") as name:
        folder = Path(name)
        began = time.perf_counter()
        with server_with_accounts(folder, most) as server:
            started_s = time.perf_counter() - began
            memory = _resident_mib(server.process.pid)
            file = folder / "nats.conf"
            tenants = {**most.tenants, "acme": Tenant(keys=(key("acme"),))}
            one_more = msgspec.structs.replace(most, tenants=tenants)
            await asyncio.to_thread(_rewrite, file, render(most), render(one_more))
            began = time.perf_counter()
            os.kill(server.process.pid, signal.SIGHUP)
            while not await _is_let_in(server.url, folder):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            let_in_s = time.perf_counter() - began
    say(f"  {number} tenants: {started_s:.2f} s, {memory:.0f} MiB, one more {let_in_s:.2f} s")
    return (
        Figure(name=f"start_with_{number}_tenants", value=round(started_s, 3), unit="s"),
        Figure(name=f"memory_with_{number}_tenants", value=round(memory, 1), unit="MiB"),
        Figure(name=f"one_more_beside_{number}_tenants", value=round(let_in_s, 3), unit="s"),
    )


def _with_tenants(number: int) -> Register:
    names = [f"tenant{n}" for n in range(number)]
    tenants = {name: Tenant(keys=(Key(nkey=key(name).nkey),)) for name in names}
    return msgspec.structs.replace(register(), tenants=tenants)


def _rewrite(file: Path, before: str, after: str) -> None:
    file.write_text(file.read_text().replace(before, after))


async def _is_let_in(url: str, folder: Path) -> bool:
    try:
        async with connected_as("acme", url, folder):
            return True
    except BrokerRefused:
        return False


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
