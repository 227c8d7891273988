"""A work queue of one test alone, and pulling from it."""

import asyncio
from typing import NamedTuple

from fleet.broker.connection import Connection
from fleet.broker.queue import Delivery, Puller

NS = 1_000_000_000
WAIT_S = 30.0


class WorkQueue(NamedTuple):
    stream: str
    durable: str
    subject: str


async def work_queue(
    connection: Connection, unique: str, *, ack_wait_s: float = 30, max_waiting: int = 512
) -> WorkQueue:
    """Create a stream `<unique>.>` and its durable."""
    queue = WorkQueue(unique, "d", f"{unique}.a")
    await connection.api(
        f"STREAM.CREATE.{queue.stream}",
        {
            "name": queue.stream,
            "subjects": [f"{unique}.>"],
            "storage": "file",
            "retention": "workqueue",
        },
    )
    await make_durable(
        connection, queue.stream, queue.durable, ack_wait_s=ack_wait_s, max_waiting=max_waiting
    )
    return queue


async def make_durable(
    connection: Connection,
    stream: str,
    durable: str,
    *,
    ack_wait_s: float = 30,
    max_waiting: int = 512,
) -> None:
    config = {
        "name": durable,
        "durable_name": durable,
        "ack_policy": "explicit",
        "deliver_policy": "all",
        "replay_policy": "instant",
        "ack_wait": round(ack_wait_s * NS),
        "max_waiting": max_waiting,
        "priority_groups": ["g"],
        "priority_policy": "prioritized",
    }
    await connection.api(
        f"CONSUMER.CREATE.{stream}.{durable}",
        {"stream_name": stream, "action": "create", "config": config},
    )


def puller(connection: Connection, queue: WorkQueue, *, priority: int = 0) -> Puller:
    return Puller(
        connection,
        stream=queue.stream,
        durable=queue.durable,
        group="g",
        priority=priority,
        expires_s=1.0,
        heartbeat_s=0.4,
    )


async def take(puller: Puller) -> Delivery:
    """Take the next delivery, asking for one again whenever requests ended."""
    async with asyncio.timeout(WAIT_S):
        while (delivery := await puller.next()) is None:
            if puller.outstanding == 0:
                await puller.ask(1)
    return delivery


async def stored(connection: Connection, queue: WorkQueue) -> int:
    info = await connection.api(f"STREAM.INFO.{queue.stream}")
    return int(info["state"]["messages"])


async def emptied(connection: Connection, queue: WorkQueue) -> None:
    """Wait until nothing is stored: what was given up is taken off without an answer."""
    async with asyncio.timeout(WAIT_S):
        while await stored(connection, queue):
            pass


async def waiting(connection: Connection, queue: WorkQueue, count: int) -> None:
    """Wait until the server has that many requests."""
    async with asyncio.timeout(WAIT_S):
        while True:
            info = await connection.api(f"CONSUMER.INFO.{queue.stream}.{queue.durable}")
            if info["num_waiting"] == count:
                return


async def take_ack(puller: Puller) -> None:
    """Take the next delivery off the queue."""
    await (await take(puller)).ack()
