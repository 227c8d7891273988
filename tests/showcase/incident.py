"""Record the incident that ships with the package: `python -m tests.showcase.incident`.

It takes five minutes on a quiet machine, and writes dashboard/incident.jsonl.gz anew.
"""

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Final

import msgspec

from dashboard.recorded import RecordFile
from dashboard.snapshot import EventFact, FleetSnapshot, NodeFact
from fleet.cli.top import incident
from fleet.cli.top_source import live
from fleet.events import NodeStarted
from tests.showcase.story import LENGTH_S, WARM_UP_S, scene

NAME: Final = "a recorded incident"


async def record(file: Path) -> None:
    """Play the incident, and write what the dashboard saw of it."""
    loop = asyncio.get_running_loop()
    async with (
        scene(_say) as stage,
        aclosing(live(stage.nats).snapshots()) as snapshots,
        asyncio.TaskGroup() as group,
    ):
        # It is watched before it is recorded: what stands still is known by having been watched.
        begin = loop.time() + WARM_UP_S
        async for _ in snapshots:
            if loop.time() > begin:
                break
        group.create_task(stage.play(_say))
        with RecordFile(file) as recording:
            async for snapshot in snapshots:
                recording.add(anonymous(snapshot))
                if loop.time() > begin + LENGTH_S:
                    break


def anonymous(snapshot: FleetSnapshot) -> FleetSnapshot:
    """Leave out where it was recorded: the machine, its processes, and the broker's address."""
    nodes = tuple(map(_nameless, snapshot.nodes))
    events = tuple(map(_placeless, snapshot.events))
    return msgspec.structs.replace(snapshot, source=NAME, nodes=nodes, events=events)


def _nameless(fact: NodeFact) -> NodeFact:
    node = msgspec.structs.replace(fact.node, host=fact.node.node, pid=1)
    return msgspec.structs.replace(fact, node=node)


def _placeless(fact: EventFact) -> EventFact:
    if not isinstance(fact.event, NodeStarted):
        return fact
    event = msgspec.structs.replace(fact.event, host=fact.event.node, pid=1)
    return msgspec.structs.replace(fact, event=event)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main() -> None:
    """Write the file anew."""
    file = incident()
    file.unlink(missing_ok=True)
    asyncio.run(record(file))
    _say(f"{file}: {file.stat().st_size / 1024:.0f} KiB for {LENGTH_S:.0f} s")


if __name__ == "__main__":
    main()
