"""The faults of the campaign: networks, clocks, versions, operators, and those who collect."""

import asyncio
import io
import signal
from pathlib import Path

import msgspec

from fleet.batch_file import bodies, survey
from fleet.batches import Batches, draft
from fleet.broker.kv import Bucket
from fleet.broker.provision import provision
from fleet.manifest import job_id
from fleet.subjects import CLAIMS, claim_key
from tests.asking import eventually
from tests.fault.act import Act
from tests.fault.play import Scenario
from tests.fault.proxy import proxied
from tests.fault.stage import ACK_WAIT_S
from tests.integration.cli import end, fleet, start

CLOCKS = Path(__file__).parent / "clocks"
HOUR_S = 3600
DURABLE = "JOBS_BATCH.batch_smollm2"


async def bad_lines(act: Act) -> None:
    """One consumer behind a black hole, one behind a slow line, one that hears byte by byte."""
    async with (
        proxied(act.stage.url) as hole,
        proxied(act.stage.url) as slow,
        proxied(act.stage.url) as bytewise,
    ):
        names = [f"{act.tenant}-{what}" for what in ("hole", "slow", "bytewise")]
        lines = [line.url for line in (hole, slow, bytewise)]
        await act.extras(dict.fromkeys(names, ""), urls=lines)
        slow.delay_s, slow.bytes_per_s, bytewise.piece = 0.15, 20_000, 3
        await act.publish(16)
        await act.at_work(names[0])
        hole.hole()
        act.note("freeze", names[0], outcome="black hole")
        await asyncio.sleep(ACK_WAIT_S + act.chance.uniform(0.5, 2.0))
        hole.heal()
        await act.publish(4)
        await act.drained()
        await asyncio.to_thread(act.stage.clear)


async def wrong_clocks(act: Act) -> None:
    """Clocks that jump by an hour while the consumer works, forward and back; one of them dies."""
    names = [f"{act.tenant}-ahead", f"{act.tenant}-behind"]
    for name, shift_s in zip(names, (HOUR_S, -HOUR_S), strict=True):
        env = {"PYTHONPATH": str(CLOCKS), "CLOCK_SHIFT_S": str(shift_s), "CLOCK_AFTER_S": "3"}
        act.stage.start(name, env=env)
    await act.until(lambda: act.ready(*names), "consumers with clocks")
    act.note("clock", names[0], outcome="+1 h")
    act.note("clock", names[1], outcome="-1 h")
    await act.at_work(*names)
    act.kill(act.chance.choice(names))


async def other_versions(act: Act) -> None:
    """Claims, jobs and checkpoints of a newer version, and a checkpoint that is cut off."""
    claims = Bucket(act.connection, CLAIMS, msgspec.Raw, sealed=True)
    newer = msgspec.Raw(b'{"version": 99, "holder": {"node": "n"}, "owner": 7}')
    for job, value in (("newer", newer), ("cut", msgspec.Raw(b'{"owner": "spot-1", "writer'))):
        act.plan(job, tokens=(40, 60))
        await act.connection.append(f"$KV.{CLAIMS}.{claim_key(act.tenant, job)}", bytes(value))
        await act.publish_again(job)
    for number in range(3):
        await act.publish_again(act.plan(f"more{number}"), priority=number, schema={"v": [2]})
    job = act.plan("live", items=8, tokens=(60, 90))
    await act.publish_again(job)
    key = claim_key(act.tenant, job)
    entry = await eventually(lambda: claims.get(key), "a checkpoint")
    # A consumer of tomorrow wrote fields that today's does not know.
    grown = msgspec.json.decode(bytes(entry.value)) | {"written_by": "2.0", "hints": {"a": [1]}}
    await claims.put(key, msgspec.Raw(msgspec.json.encode(grown)))


async def operators_hand(act: Act) -> None:
    """The durable is paused, then deleted under running consumers and created again."""
    await act.publish(8)
    await act.victim()
    await act.connection.api(f"CONSUMER.PAUSE.{DURABLE}", {"pause_until": "2999-01-01T00:00:00Z"})
    await act.publish(4)
    await act.pause(1.0, 3.0)
    await act.connection.api(f"CONSUMER.PAUSE.{DURABLE}", {})
    await act.victim()
    await act.connection.api(f"CONSUMER.DELETE.{DURABLE}")
    await act.pause(0.2, 1.0)
    await provision(act.connection, ["smollm2"], ack_wait_s=ACK_WAIT_S)
    await act.publish(4)


async def two_collectors(act: Act) -> None:
    """Two collectors at once, one of them killed, while consumers die: one file, each line once."""
    batch, jobs, items = f"b-{act.tenant}", 6, 4
    names = [act.plan(job_id(batch, n), items=items) for n in range(jobs)]
    lines = [
        {**request, "custom_id": f"{name}.{n}"}
        for name in names
        for n, request in enumerate(act.requests(name))
    ]
    content = b"\n".join(map(msgspec.json.encode, lines))
    found = survey(io.BytesIO(content), chunk=items)
    plan = draft(found, tenant=act.tenant, model="smollm2", batch=batch, input_name="in", now=1e9)
    await Batches(act.connection, tenant=act.tenant).submit(
        plan, bodies(io.BytesIO(content), found)
    )
    for name in names:
        act.note("publish", "producer", job=name, outcome="stored")
    folder = act.history.path.parent / f"{act.tenant}-collected"
    folder.mkdir()
    command = ("batch", "results", batch, "--tenant", act.tenant, "--dir", str(folder))
    act.kill(await act.victim())
    one, other = [await start(act.stage.url, *command) for _ in range(2)]
    await act.pause(0.3, 1.0)
    if one.returncode is None:
        one.send_signal(signal.SIGKILL)
    await end(one)
    await end(other)
    await act.drained()
    ran = await fleet(act.stage.url, *command)
    output = (folder / f"{batch}_output.jsonl").read_bytes().splitlines()
    collected = [msgspec.json.decode(line)["custom_id"] for line in output]
    if ran.code or collected != [line["custom_id"] for line in lines]:
        act.note("unproven", "collector", outcome=f"code {ran.code}, {len(collected)} lines")


SURROUNDINGS = (
    Scenario("network", "black hole, slow line, byte by byte", bad_lines),
    Scenario("clock", "clocks jump by an hour", wrong_clocks),
    Scenario("versions", "newer claims, jobs and checkpoints", other_versions),
    Scenario("operator", "durable paused, deleted, created again", operators_hand),
    Scenario("collectors", "two collectors, one killed", two_collectors),
)
