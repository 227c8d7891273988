"""Three servers on three machines, and the leader is cut off; run inside `namespaces.sh`.

python -m tests.integration.cluster.cut_off FOLDER: prints JSON of what came of it.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fleet.broker import dial
from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from fleet.broker.stored import messages
from fleet.children import die_with_parent
from fleet.errors import BrokerRefused, BrokerUnreachable
from fleet.tenancy.render import render
from tests.asking import eventually
from tests.certificates import Authority
from tests.server import binary
from tests.tenants import connected_as, register

ADDRESSES = {"n1": "10.77.0.1", "n2": "10.77.0.2", "n3": "10.77.0.3"}
CONFIGS = Path(__file__).parents[3] / "deploy" / "nats"
URL = ",".join(f"tls://{address}:4222" for address in ADDRESSES.values())
BOUND_S = 60.0
BEHIND_S = 10.0


@contextmanager
def servers(folder: Path) -> Iterator[Path]:
    """Run the three, each in its namespace, as shipped; yield the authority to trust."""
    authority = Authority(folder)
    routes = json.dumps([f"nats://{address}:6222" for address in ADDRESSES.values()])
    running = []
    try:
        for name, address in ADDRESSES.items():
            files = authority.certificate(name, address=address)
            own = folder / f"at-{name}"
            own.mkdir()
            for config in ("common.conf", "cluster.conf"):
                shutil.copy(CONFIGS / config, own)
            (own / "accounts.conf").write_text(render(register()))
            environment = {
                "NATS_NAME": name, "NATS_LISTEN": f"{address}:4222",
                "NATS_MONITOR": "127.0.0.1:8222", "NATS_PID": str(own / "pid"),
                "NATS_STORE": str(own / "store"), "NATS_MAX_MEMORY": "256MB",
                "NATS_MAX_STORE": "20GB", "NATS_CERT": str(files.cert),
                "NATS_KEY": str(files.key), "NATS_CA": str(files.ca),
                "NATS_CLUSTER_LISTEN": f"{address}:6222", "NATS_ROUTES": routes,
            }  # fmt: skip
            command = ["ip", "netns", "exec", name, binary(), "-c", str(own / "cluster.conf")]
            running.append(
                subprocess.Popen(
                    [*command, "-l", str(own / "log")],
                    env={**os.environ, **environment}, preexec_fn=die_with_parent,
                )
            )  # fmt: skip
        yield authority.file
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(20)


def link(name: str, state: str) -> None:
    """Pull a machine's plug, or put it back in."""
    subprocess.run(["ip", "link", "set", f"to-{name}", state], check=True)


async def ready(operator: Connection) -> bool:
    """Set everything up once the three have a leader."""
    with suppress(BrokerRefused, BrokerUnreachable):
        await provision(operator, ["m"], replicas=3)
        return len(await current(operator)) == 2
    return False


async def current(operator: Connection) -> list[str]:
    """Name the servers that follow the queue's leader and have all of it."""
    info = await operator.api("STREAM.INFO.JOBS_BATCH")
    return [one["name"] for one in info["cluster"].get("replicas", ()) if one["current"]]


async def leader(operator: Connection) -> str:
    return str((await operator.api("STREAM.INFO.JOBS_BATCH"))["cluster"]["leader"])


async def publish(acme: Connection, job: str) -> None:
    """Submit a job as a tenant does: again under its id, until somebody confirms it."""
    while True:
        with suppress(BrokerRefused, BrokerUnreachable):
            await acme.append(
                "jobs.batch.m", b"{}", headers={"Fleet-Job-Id": job, "Nats-Msg-Id": job}, wait_s=2
            )
            return
        await asyncio.sleep(0.1)


async def missed(operator: Connection, jobs: set[str]) -> set[str]:
    """Name the jobs that are not stored; any of the three answers, and may be a moment behind."""
    give_up = time.monotonic() + BEHIND_S
    while True:
        stored = messages(operator, "JOBS_BATCH", "jobs.batch.m.acme")
        missing = jobs - {one.headers["Fleet-Job-Id"] async for one in stored}
        if not missing or time.monotonic() > give_up:
            return missing
        await asyncio.sleep(0.1)


async def play(folder: Path, ca: Path) -> dict[str, object]:
    env = {"NATS_CA": str(ca)}
    async with (
        connected_as("@operator", URL, folder, env=env) as operator,
        connected_as("acme", URL, folder, env=env) as acme,
    ):
        await eventually(lambda: ready(operator), "three replicas", bound_s=BOUND_S)
        jobs = [f"before{number}" for number in range(50)]
        for job in jobs:
            await publish(acme, job)
        lost = await leader(operator)
        link(lost, "down")
        cut_at = time.monotonic()
        async with asyncio.timeout(BOUND_S):
            await publish(acme, "first")
        gap_s = time.monotonic() - cut_at
        meanwhile = [f"meanwhile{number}" for number in range(50)]
        for job in meanwhile:
            await publish(acme, job)
        link(lost, "up")

        async def back() -> bool:
            with suppress(BrokerRefused, BrokerUnreachable):
                return len(await current(operator)) == 2
            return False

        await eventually(back, "the lost server to have caught up", bound_s=BOUND_S)
        missing = await missed(operator, {*jobs, "first", *meanwhile})
        return {
            "lost_server": lost,
            "leader_after": await leader(operator),
            "gap_s": round(gap_s, 1),
            "confirmed": len(jobs) + 1 + len(meanwhile),
            "missing": sorted(missing),
        }


def main() -> None:
    folder = Path(sys.argv[1])
    # Notice sooner that a server is gone: what is measured is how soon the others go on.
    dial.PING_S = 1  # type: ignore[misc]
    with servers(folder) as ca:
        sys.stdout.write(json.dumps(asyncio.run(play(folder, ca))))


if __name__ == "__main__":
    main()
