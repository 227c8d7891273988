"""A broker that was killed brings expired keys back for a moment; nobody takes them for living."""

from pathlib import Path

from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.broker.stored import last_message
from fleet.topology import StreamSpec, bucket_stream, bucket_subject
from tests.asking import eventually
from tests.integration.brokers import connected
from tests.server import nats_server

NAME, DEAD, ALIVE = "short", "dead", "alive"
RESTARTS = 6
# A bucket like that of the heartbeats, but that it forgets its markers after a second.
SPEC = StreamSpec(
    name=bucket_stream(NAME),
    subjects=(bucket_subject(NAME, ">"),),
    queue_limit=1,
    message_ttl=True,
    marker_ttl_s=1.0,
    rollup=True,
)


async def test_what_expired_stays_gone_when_the_broker_is_killed(tmp_path: Path) -> None:
    with nats_server(tmp_path) as server:
        async with connected(server.url) as connection:
            await connection.api(f"STREAM.CREATE.{SPEC.name}", SPEC.config())
            bucket = Bucket(connection, NAME, int)
            await bucket.put(DEAD, 1, ttl_s=1)
            await eventually(lambda: is_gone(connection, bucket), "the end of the key")
        port = server.port
        server.process.kill()
        server.process.wait()
    for number in range(RESTARTS):
        with nats_server(tmp_path, port=port) as server:
            async with connected(server.url) as connection:
                bucket = Bucket(connection, NAME, int)
                assert set(await bucket.entries()) <= {ALIVE}
                assert await bucket.get(DEAD) is None
                assert not await bucket.exists(DEAD)
                if number == RESTARTS - 1:
                    await bucket.put(DEAD, 2, revision=0)
                await bucket.put(ALIVE, number, ttl_s=60)
            server.process.kill()
            server.process.wait()


async def is_gone(connection: Connection, bucket: Bucket[int]) -> bool:
    """Whether not even a marker is left; somebody else beats meanwhile."""
    await bucket.put(ALIVE, 0, ttl_s=60)
    return await last_message(connection, SPEC.name, bucket_subject(NAME, DEAD)) is None
