"""A work queue of one test alone."""

from typing import NamedTuple

from fleet.broker.connection import Connection

NS = 1_000_000_000


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
    config = {
        "name": queue.durable,
        "durable_name": queue.durable,
        "ack_policy": "explicit",
        "deliver_policy": "all",
        "replay_policy": "instant",
        "ack_wait": round(ack_wait_s * NS),
        "max_waiting": max_waiting,
        "priority_groups": ["g"],
        "priority_policy": "prioritized",
    }
    await connection.api(
        f"CONSUMER.CREATE.{queue.stream}.{queue.durable}",
        {"stream_name": queue.stream, "action": "create", "config": config},
    )
    return queue
