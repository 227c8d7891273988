"""Consumers of two versions work side by side, and hand their work to each other both ways."""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from fleet.broker.connection import Connection
from fleet.broker.nodes import Nodes
from fleet.broker.provision import provision
from fleet.evidence import verify
from tests.asking import MODEL, Asker, answer_to, chat, chunk, eventually, text_of
from tests.fleets import QUICK, ROOT, running_consumer
from tests.integration import cli
from tests.integration.brokers import connected
from tests.operations.shell import run
from tests.server import nats_server

# Whoever works slowly is still at work when it is told to go.
ITEMS, TOKENS, SLOW, AT_ONCE = 3, 2400, 30, 0
BODY = msgspec.json.encode(chunk([chat(f"item {n}", TOKENS) for n in range(ITEMS)]))
# A grace period in which an item does not fit.
ENV = {**QUICK, "FLEET_DRAIN_S": "1", "FLEET_DRAIN_RESERVE_S": "0.5"}
# What the next version may do: fields of its own in all that is stored.
GROWN = {
    "fleet/claim.py": "version: int = 1",
    "fleet/job.py": "interruptions: Count = 0",
    "fleet/node.py": 'notice: str = ""',
}


@pytest.fixture(scope="module")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code that writes and expects fields which ours does not know."""
    root = tmp_path_factory.mktemp("next")
    for package in ("fleet", "consumers"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("*.pyc"))
    for file, field in GROWN.items():
        text = (root / file).read_text()
        grown, count = re.subn(
            rf"^    {re.escape(field)}$",
            f'    {field}\n    added_later: str = "by the next version"',
            text,
            count=1,
            flags=re.MULTILINE,
        )
        assert count == 1, f"{file} has no `{field}` any more: name another field here"
        (root / file).write_text(grown)
    return root


async def test_a_job_goes_on_over_an_upgrade_and_over_going_back(
    tmp_path: Path, unique: str, next_version: Path
) -> None:
    with nats_server(tmp_path / "nats") as server, ExitStack() as consumers:
        async with connected(server.url) as connection:
            await provision(connection, [MODEL])
            asker = Asker(connection, unique)
            consumers.enter_context(consumer(tmp_path, server.url, "old", ROOT, SLOW))
            await asker.publish("batch", BODY, headers={"Fleet-Job-Id": "job"})
            await at_work(connection, "old")
            consumers.enter_context(consumer(tmp_path, server.url, "new", next_version, SLOW))
            await at_work(connection, "new", tokens=0)
            ran = await run("Upgrade", url=server.url, NODE="old", MODEL=MODEL)
            assert ran.code == 0, ran.err
            await at_work(connection, "new")
            consumers.enter_context(consumer(tmp_path, server.url, "again", ROOT, AT_ONCE))
            await at_work(connection, "again", tokens=0)
            ran = await cli.fleet(server.url, "drain", "new")
            assert ran.code == 0, ran.err
            lines = await asker.lines("job")
            proof = await verify(connection, tenant=unique)
    assert proof.verdict == "proven"
    expected = [answer_to(f"item {n}", TOKENS) for n in range(ITEMS)]
    assert [text_of(line) for line in lines] == expected
    # Three had a hand in it, and none made anything again.
    assert {line.fleet.node for line in lines} == {"again"}
    assert {line.fleet.resumed for line in lines} == {"exact"}
    assert {line.fleet.interruptions for line in lines} == {2}


@contextmanager
def consumer(folder: Path, url: str, node: str, root: Path, rate: int) -> Iterator[None]:
    flags = ("--node", node, "--token-rate", str(rate), "--slots", "8")
    with running_consumer(folder / node, url, "spot", *flags, env=ENV, root=root):
        yield


async def at_work(connection: Connection, node: str, *, tokens: int = 10) -> None:
    """Wait until a node is ready, and has made so many tokens."""

    async def look() -> bool:
        nodes = await Nodes(connection).list()
        return any(
            one.node == node and one.state == "ready" and one.tokens_generated >= tokens
            for one in nodes
        )

    await eventually(look, f"{node}, at work")
