"""What docs/scale.md says of growth: that it is configuration."""

from contextlib import suppress
from pathlib import Path

from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from fleet.errors import BrokerRefused, BrokerUnreachable
from tests.asking import MODEL, Asker, answer_to, chat, eventually, text_of
from tests.fleets import running_consumer
from tests.integration.brokers import connected
from tests.ports import free_port
from tests.server import nats_server


async def test_consumers_and_producers_behind_a_leaf_node_are_as_good_as_beside_the_broker(
    tmp_path: Path, unique: str
) -> None:
    port = free_port()
    store = tmp_path / "hub"
    hub = (
        f'server_name: hub\nleafnodes {{ listen: "127.0.0.1:{port}" }}\n'
        f'jetstream {{ domain: hub, store_dir: "{store}" }}'
    )
    # It keeps nothing, and passes on what is asked of JetStream.
    leaf = (
        f'server_name: leaf\nleafnodes {{ remotes: [{{ url: "nats://127.0.0.1:{port}" }}] }}\n'
        'jetstream: disabled\ndefault_js_domain { "$G": hub }'
    )
    with (
        nats_server(tmp_path / "hub", config=hub) as there,
        nats_server(tmp_path / "leaf", config=leaf) as here,
    ):
        async with connected(there.url) as connection:
            await provision(connection, [MODEL])
        with running_consumer(tmp_path / "spot", here.url, "spot"):
            async with connected(here.url) as connection:
                await eventually(lambda: is_joined(connection), "the line to the hub")
                (line,) = await Asker(connection, unique).ask("batch", chat("far away"))
        assert text_of(line) == answer_to("far away")


async def is_joined(connection: Connection) -> bool:
    with suppress(BrokerRefused, BrokerUnreachable):
        await connection.api("STREAM.INFO.JOBS_BATCH")
        return True
    return False
