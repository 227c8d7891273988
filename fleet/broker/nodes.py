"""The heartbeats of nodes: a key that is there is a node that lives."""

from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.node import Node
from fleet.subjects import NODES


class Nodes:
    """Beats and reads the bucket `nodes`."""

    def __init__(self, connection: Connection) -> None:
        self._bucket = Bucket(connection, NODES, Node)

    async def beat(self, node: Node, ttl_s: float) -> None:
        """Say that `node` lives for `ttl_s` seconds more (whole ones, at least 1)."""
        await self._bucket.put(node.node, node, ttl_s=ttl_s)

    async def alive(self, name: str) -> bool:
        """Say whether the node's last beat has not expired yet."""
        return await self._bucket.exists(name)

    async def list(self) -> list[Node]:
        """Read all living nodes, by name; beats of a foreign form are left out."""
        entries = await self._bucket.entries()
        return [entries[name].value for name in sorted(entries)]

    async def beats(self) -> dict[str, float]:
        """Say when each living node beat last, by the server's clock."""
        entries = await self._bucket.entries()
        return {name: entry.written_at for name, entry in entries.items()}

    async def forget(self, name: str) -> None:
        """Take a node off the list at once: it ended in an orderly way."""
        await self._bucket.forget(name)
