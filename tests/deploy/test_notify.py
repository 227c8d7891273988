"""A consumer as the main process of a systemd unit: ready when it works, fed by its event loop."""

import asyncio
import os
import signal
import time
from itertools import pairwise
from pathlib import Path

from fleet.broker.provision import provision
from tests.asking import Asker, chat
from tests.deploy.listening import Manager, Word, systemd
from tests.fleets import QUICK, STOP_S, running_consumer
from tests.integration.brokers import connected

WATCHDOG_S = 1.6
BLOCK_S = 3.0


def gaps_s(manager: Manager) -> list[float]:
    """How long the watchdog had to wait for each of its words."""
    fed = [word.at for word in manager.since() if word.text == "WATCHDOG=1"]
    return [later - earlier for earlier, later in pairwise(fed)]


def said_while_stopped(pid: int, manager: Manager) -> list[Word]:
    """Stop a child as a whole for a watchdog's time, and let it go on."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    stopped = manager.barrier()  # what was on its way was heard before
    time.sleep(WATCHDOG_S)  # the absence of a word takes time
    said = manager.since(stopped.at)
    os.kill(pid, signal.SIGCONT)
    return said


async def test_a_consumer_is_ready_when_it_works_and_starves_the_watchdog_when_its_loop_hangs(
    tmp_path: Path, nats_url: str, unique: str
) -> None:
    async with connected(nats_url) as connection:
        await provision(connection, [unique])
        asker = Asker(connection, unique, model=unique)
        with systemd(tmp_path) as manager:
            env = {
                **QUICK,
                "NOTIFY_SOCKET": manager.address,
                "WATCHDOG_USEC": f"{WATCHDOG_S * 1e6:.0f}",
                # The first result blocks the loop itself; threads, probes and leases go on.
                "FLEET_FAULTS": f"generate.after=block:{BLOCK_S:g}@1",
            }
            with running_consumer(tmp_path, nats_url, "spot", "--model", unique, env=env) as run:
                manager.until("READY=1")
                manager.until("WATCHDOG=1")
                await asker.publish("batch", chat("hello"), headers={"Fleet-Job-Id": "job"})
                await asker.lines("job", bound_s=60)
                manager.until("WATCHDOG=1", after=time.monotonic())
                assert max(gaps_s(manager)) > WATCHDOG_S, "the loop hung, and was said to turn"
                assert min(gaps_s(manager)) < WATCHDOG_S

                assert await asyncio.to_thread(said_while_stopped, run.pid, manager) == []
                run.terminate()
                manager.until("STATUS=draining: SIGTERM")
                manager.until("STOPPING=1")
                assert run.wait(STOP_S) == 0
