"""The broker's store is full: it says so, work waits, and goes on when there is room again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.broker.connection import ApiError, Connection
from fleet.broker.provision import provision
from fleet.evidence import verify
from fleet.topology import STREAMS
from tests.asking import Asker, answer_to, chat, chunk, eventually, text_of
from tests.fleets import running_fleet
from tests.integration.brokers import connected
from tests.server import NatsServer, nats_server

STORE_BYTES = 24 * 1024 * 1024
SMALL = 'jetstream {{ store_dir: "{folder}", max_file_store: {size} }}'
PIECE = b"x" * 500_000
# Of the pieces that the store holds.
MOST = 44
NO_ROOM = 10023
ITEMS, TOKENS = 4, 120


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    folder = tmp_path / "nats"
    # Of two blocks the server takes the later one's word.
    with nats_server(folder, config=SMALL.format(folder=folder, size=STORE_BYTES)) as running:
        yield running


async def test_a_full_store_refuses_clearly_and_heals(
    server: NatsServer, tmp_path: Path, unique: str
) -> None:
    async with connected(server.url) as connection:
        await unreserved(connection)
        flags = ("--nats", server.url, "--on-demand", "0", "--spot", "1", "--token-rate", "40")
        with running_fleet(tmp_path / "fleet", *flags) as fleet:
            asker = Asker(connection, unique)
            body = chunk([chat(f"item {n}", TOKENS, temperature=0) for n in range(ITEMS)])
            # Little is left to write when the job begins, so it has not ended when all is full.
            await connection.api("STREAM.CREATE.FILLER", {"name": "FILLER", "subjects": ["filler"]})
            for _ in range(MOST):
                await connection.append("filler", PIECE)
            await asker.publish("batch", body, headers={"Fleet-Job-Id": "job"})
            refusal = await fill(connection)
            assert refusal.err_code == NO_ROOM
            assert "insufficient" in str(refusal)
            with pytest.raises(ApiError, match="insufficient"):
                await asker.publish("batch", PIECE, headers={"Fleet-Job-Id": "more"})
            # Nobody can save, so nothing is settled.
            assert (await verify(connection, tenant=unique)).verdict == "open"

            await connection.api("STREAM.DELETE.FILLER")
            lines = await asker.lines("job")
            expected = [answer_to(f"item {n}", TOKENS) for n in range(ITEMS)]
            assert [text_of(line) for line in lines] == expected

            async def settled() -> bool:
                return (await verify(connection, tenant=unique)).verdict == "proven"

            await eventually(settled, "the acknowledgement")
            assert fleet.gone() == [], fleet.log()


async def unreserved(connection: Connection) -> None:
    """Create the streams without the room that they reserve, which is more than the store has."""
    for spec in STREAMS:
        config = spec.config() | {"max_bytes": -1}
        await connection.api(f"STREAM.CREATE.{spec.name}", config)
    await provision(connection, ["smollm2"], ack_wait_s=3.0)


async def fill(connection: Connection) -> ApiError:
    """Write until the broker refuses."""
    while True:
        try:
            await connection.append("filler", PIECE)
        except ApiError as error:
            return error
