"""The work that a drill brings along, so that it can tell what came of it."""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Final

from fleet.broker.claims import Claims, Held
from fleet.broker.connection import Connection
from fleet.broker.results import ResultLog
from fleet.errors import UsageError
from fleet.evidence import verify
from fleet.job import CHAT, ResultLine, Tier
from fleet.producer import Producer, Ticket

# A second job comes so much later, if the first is not where it is to be.
EVERY_S: Final = 1.0
POLL_S: Final = 0.1
# So many and none of them at the victim: it has no room, or others are quicker.
MOST: Final = 16


class Probes:
    """Jobs of one tenant under one batch's name. items, tokens: of each."""

    def __init__(self, connection: Connection, *, tenant: str, items: int, tokens: int) -> None:
        self.name = f"drill-{secrets.token_hex(4)}"
        self.tenant = tenant
        self.items = items
        self.tickets: list[Ticket] = []
        self._tokens = tokens
        self._connection = connection
        self._claims = Claims(connection)
        self._log = ResultLog(connection)

    @property
    def jobs(self) -> frozenset[str]:
        """The ids of all jobs."""
        return frozenset(ticket.job for ticket in self.tickets)

    async def reach(
        self, nodes: frozenset[str], *, model: str, tier: Tier, said: Callable[[str], None]
    ) -> None:
        """Publish until one of the nodes has saved a part of one; anybody, if none is named.

        There is no bound but that of the jobs: when all have ended in vain, UsageError tells why.
        """
        clock = asyncio.get_running_loop()
        next_at = clock.time()
        while not any(
            held.claim and held.claim.saved for held in (await self.held(nodes)).values()
        ):
            if clock.time() >= next_at and len(self.tickets) < MOST:
                await self._publish(model, tier)
                said(f"probe {len(self.tickets)}: {self.items} requests to {model}")
                next_at = clock.time() + EVERY_S
            elif len(self.tickets) == MOST and await self.ended():
                raise UsageError(
                    f"{', '.join(sorted(nodes)) or 'no node'} worked long enough on none of {MOST} "
                    "probes to save a part of it: give them more --tokens, or another node"
                )
            await asyncio.sleep(POLL_S)

    async def held(self, nodes: frozenset[str]) -> dict[str, Held]:
        """Find the jobs that these nodes have, or anybody if none is named, with their claims."""
        found = {}
        for ticket in self.tickets:
            held = await self._claims.get(ticket.tenant, ticket.job)
            owner = held.claim.owner if held and held.claim else None
            if held is not None and owner is not None and (owner in nodes or not nodes):
                found[ticket.job] = held
        return found

    async def done(self) -> int:
        """Count the items that have their line."""
        return len(await self.lines())

    async def ended(self) -> bool:
        """Say whether every item has its line."""
        return await self.done() == len(self.tickets) * self.items

    async def lines(self) -> list[ResultLine]:
        """Read the first line of each item that has one."""
        return [
            line
            for ticket in self.tickets
            for line in (await self._log.read(ticket.tenant, ticket.batch, ticket.job)).lines
        ]

    async def count(self) -> tuple[int, int, int]:
        """Count by the proof: items lost, items said more than once, and jobs that go on."""
        proof = await verify(self._connection, tenant=self.tenant)
        going = {job.job for job in proof.open} & self.jobs
        flaws = [flaw for flaw in proof.flaws if flaw.job in self.jobs]
        ended = [line for line in await self.lines() if line.fleet.job not in going]
        lost = (len(self.tickets) - len(going)) * self.items - len(ended)
        return lost, sum(flaw.kind != "missing" for flaw in flaws), len(going)

    async def _publish(self, model: str, tier: Tier) -> None:
        producer, number = Producer(self._connection, tenant=self.tenant), len(self.tickets)
        body = {"requests": [self._request(item) for item in range(self.items)]}
        job_id = f"{self.name}-{number}"
        self.tickets.append(
            await producer.submit(body, model=model, tier=tier, job_id=job_id, batch=self.name)
        )

    def _request(self, item: int) -> dict[str, object]:
        return {
            "custom_id": f"{item}",
            "url": CHAT,
            "body": {
                "messages": [{"role": "user", "content": f"Tell me long story number {item}."}],
                "max_tokens": self._tokens,
                "min_tokens": self._tokens,
                "temperature": 0,
            },
        }


def pace(lines: Sequence[ResultLine], held: Mapping[str, Held]) -> float:
    """Return how many tokens a second an item makes, 0 if that is not known.

    held: what was saved of which job when it was interrupted; who went on made the rest.
    """
    saved = {
        (job, item.index): len(item.done_ids)
        for job, one in held.items()
        for item in (one.claim.saved if one.claim else ())
    }
    paces = []
    for line in lines:
        made = (line.usage or {}).get("completion_tokens", 0)
        if line.fleet.resumed in {"exact", "continued"}:
            made -= saved.get((line.fleet.job, line.fleet.item), 0)
        if line.fleet.run_s > 0 and made > 0:
            paces.append(made / line.fleet.run_s)
    return median(paces) if paces else 0.0
