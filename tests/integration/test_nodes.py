"""Heartbeats: who beats is listed, who stops is gone."""

import asyncio

import pytest

from fleet.broker.connection import Connection
from fleet.broker.nodes import Nodes
from fleet.node import Node
from fleet.topology import bucket_subject

GONE_S = 30.0


def a_node(name: str) -> Node:
    return Node(
        node=name, pid=1, host="h", capacity_type="spot", zone="z", model="m", engine="scripted",
        state="ready", started_at=1.0, at=2.0,
    )  # fmt: skip


@pytest.fixture
def nodes(provisioned: Connection) -> Nodes:
    return Nodes(provisioned)


async def names(nodes: Nodes) -> list[str]:
    return [node.node for node in await nodes.list()]


async def test_a_node_is_listed_while_it_beats_and_gone_when_it_stops(
    nodes: Nodes, unique: str
) -> None:
    await nodes.beat(a_node(unique), 2)
    assert await nodes.alive(unique)
    assert unique in await names(nodes)
    async with asyncio.timeout(GONE_S):
        while await nodes.alive(unique):  # noqa: ASYNC110 - it expires by the server's clock
            await asyncio.sleep(0.05)
    assert unique not in await names(nodes)


async def test_a_node_that_comes_back_is_listed_again(nodes: Nodes, unique: str) -> None:
    await nodes.beat(a_node(unique), 30)
    await nodes.forget(unique)
    assert not await nodes.alive(unique)
    await nodes.beat(a_node(unique), 30)
    assert unique in await names(nodes)


async def test_a_beat_of_another_form_hides_nobody(
    nodes: Nodes, provisioned: Connection, unique: str
) -> None:
    await provisioned.append(bucket_subject("nodes", f"{unique}-odd"), b"{}")
    await nodes.beat(a_node(unique), 30)
    listed = await names(nodes)
    assert unique in listed
    assert f"{unique}-odd" not in listed
    await nodes.forget(f"{unique}-odd")
