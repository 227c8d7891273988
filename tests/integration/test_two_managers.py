"""Two managers at one broker, as operators run them: one acts, and when it dies the other one."""

import json
import signal
from pathlib import Path

import pytest

from fleet.batches import Batches
from fleet.broker.provision import provision
from fleet.events import PoolActed, PoolDecided
from fleet.pool.switches import Switches
from tests.asking import events_of, eventually
from tests.fleets import QUICK
from tests.integration import cli
from tests.integration.batch_kit import content, finished, plan_of
from tests.integration.brokers import connected
from tests.managers import running
from tests.server import nats_server

BOUND_S = 60.0


async def test_one_manager_acts_and_the_other_takes_over_when_it_is_killed(
    tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    words = ("pool", "run", "--model", unique, "--engine", "scripted", "--json", "--lease", "6",
             "--token-rate", "10", "--set", "most_spot=1")  # fmt: skip
    with nats_server(tmp_path) as server:
        async with connected(server.url) as connection, running(server.url, words) as processes:
            await provision(connection, [unique])
            first = await processes.add()
            switches, batches = Switches(connection, unique), Batches(connection, tenant=unique)

            async def leads() -> str | None:
                standing = await switches.standing()
                return standing.by if standing else None

            one = await eventually(leads, "the first manager to lead", bound_s=BOUND_S)
            second = await processes.add()
            await batches.submit(*plan_of(content(4), unique, chunk=2))

            async def launched() -> set[str]:
                acted = await events_of(connection, PoolActed, action="launched")
                return {event.node for event in acted}

            assert await eventually(launched, "a launch", bound_s=BOUND_S) == {one}
            first.send_signal(signal.SIGKILL)

            async def both() -> bool:
                return len(await launched()) == 2

            await eventually(both, "a launch of the second manager", bound_s=BOUND_S)
            status = await finished(batches, plan_of(content(4), unique, chunk=2)[0].id)
            assert status.request_counts.completed == 4

            async def told() -> str | None:
                ran = await cli.fleet(server.url, "pool", "status", "--model", unique, "--json")
                return str(json.loads(ran.out)["leader"] or "")

            assert await eventually(told, "who leads", bound_s=BOUND_S) != one
            decided = [event.node for event in await events_of(connection, PoolDecided)]
            # Neither of them spoke after the other one had begun.
            assert decided == sorted(decided, key=lambda node: node != one)
            second.send_signal(signal.SIGTERM)
            ended = await cli.end(second)
            assert ended.code == 0, ended.err
