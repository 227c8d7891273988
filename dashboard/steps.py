"""A job's life out of events and what the screen knows of it, where nobody can be asked. Pure."""

from collections.abc import Sequence

from dashboard.event_rows import OF_JOBS, told
from dashboard.job_rows import saved_since
from dashboard.snapshot import EventFact, FleetSnapshot, JobFact, Step, Story
from fleet.errors import NotFound
from fleet.subjects import shown


def steps_of(events: Sequence[EventFact], tenant: str, job: str) -> list[Step]:
    """Give what events tell of a job, oldest first."""
    steps = []
    for fact in events:
        event = fact.event
        if isinstance(event, OF_JOBS) and (event.tenant, event.job) == (tenant, job):
            grade, text = told(event)
            steps.append(Step(at=event.at, what=text, node=event.node, bad=grade != "info"))
    return steps


def story_of(snapshot: FleetSnapshot, tenant: str, job: str, batch: str | None) -> Story:
    """Tell a job's life as far as a snapshot holds it. Raises NotFound."""
    fact = next((one for one in snapshot.jobs if (one.tenant, one.job) == (tenant, job)), None)
    steps = steps_of(snapshot.events, tenant, job)
    if fact is None and not steps:
        raise NotFound(f"the recording holds nothing of job {shown(job)} of {shown(tenant)}")
    if fact is not None:
        steps.insert(0, Step(at=fact.queued_at, what="stored"))
    return Story(
        tenant=tenant,
        job=job,
        batch=batch,
        why=("it is in no queue at this moment",) if fact is None else tuple(_why(fact, snapshot)),
        items=fact.items if fact else None,
        items_done=fact.items_done if fact else None,
        steps=tuple(steps),
        errors=(fact.error,) if fact and fact.error else (),
    )


def _why(fact: JobFact, snapshot: FleetSnapshot) -> list[str]:
    match fact.state:
        case "waiting":
            ahead = sum(
                one.state == "waiting"
                and (one.tier, one.model) == (fact.tier, fact.model)
                and one.sequence < fact.sequence
                for one in snapshot.jobs
            )
            found = [f"it waits behind {ahead} jobs of its queue"]
        case "held":
            found = [f"{fact.node or 'a node'} has it"]
        case "between":
            found = [f"it is between nodes: {fact.node or 'nobody'} had it last"]
    saved_at = saved_since(fact)
    if saved_at is not None:
        found.append(f"what is saved of it is {snapshot.at - saved_at:.0f} s old")
    if fact.interruptions:
        found.append(f"it outlived {fact.interruptions} nodes")
    if fact.attempts:
        found.append(f"it failed {fact.attempts} times by its own fault")
    return found
