"""How much waits in the queues of one model: counted by the server, nobody's job is read."""

from fleet.broker.connection import Connection
from fleet.broker.stored import messages_behind
from fleet.broker.stream_state import stream_state
from fleet.job import Tier
from fleet.subjects import job_stream


async def backlog(connection: Connection, tier: Tier, model: str) -> dict[str, int]:
    """Count a tier's unfinished jobs by tenant, those in hand included.

    One request, whatever the number of jobs. Raises BrokerRefused, BrokerUnreachable.
    """
    state = await stream_state(connection, job_stream(tier), subjects=f"jobs.{tier}.{model}.*")
    counts: dict[str, int] = {}
    for subject, jobs in (state.subjects or {}).items():
        tenant = subject.rpartition(".")[2]
        counts[tenant] = counts.get(tenant, 0) + jobs
    return counts


async def behind(connection: Connection, tier: Tier, model: str, sequence: int) -> int:
    """Count the jobs of a tier and model that came behind a place of the stream."""
    stream = job_stream(tier)
    return await messages_behind(connection, stream, f"jobs.{tier}.{model}.*", sequence)
