"""`fleet verify`: prove from the log that nothing was lost and nothing said twice."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click
import msgspec

from fleet.cli import options
from fleet.subjects import plain

if TYPE_CHECKING:
    from fleet.proof import Proof

CODES: Final = {"proven": 0, "not_proven": 1, "open": 3}
WORDS: Final = {"proven": "proven", "not_proven": "NOT proven", "open": "open, so far without flaw"}
# More of them say nothing new on a terminal; --json has all.
SHOWN: Final = 50


@click.command()
@click.argument("batch", required=False)
@click.option("--tenant", metavar="NAME", envvar="FLEET_TENANT", show_envvar=True,
              help="Whose jobs; without it all tenants', and for a batch `default`.")  # fmt: skip
@options.nats
@options.as_json
def command(batch: str | None, tenant: str | None, nats: str | None, *, as_json: bool) -> int:
    """Prove that every job has one end and every item one result; of BATCH, or of all jobs.

    Reads the result log, claims, queues and dead letters, and changes nothing. What is missing or
    double is listed with its cause and remedy. Exit codes: 0 proven, 1 not proven, 3 some jobs
    still go on, 4 no such batch, 5 broker unreachable.
    """
    proof = options.run(_verify(nats, tenant, batch))
    verdict = proof.verdict
    if as_json:
        click.echo(msgspec.json.encode({"verdict": verdict, "proof": proof}))
    else:
        click.echo("\n".join(_text(proof)))
    return CODES[verdict]


async def _verify(nats: str | None, tenant: str | None, batch: str | None) -> "Proof":
    from fleet.cli.progress import slow
    from fleet.cli.reached import reached
    from fleet.evidence import verify

    async with reached(nats, name="fleet-verify") as connection:
        with slow() as report:
            return await verify(connection, tenant=tenant, batch=batch, on_progress=report)


def _text(proof: "Proof") -> Iterator[str]:
    """Write a proof for people."""
    yield f"{proof.batch or 'all jobs'}: {WORDS[proof.verdict]}"
    ended = ", ".join(f"{count} {name}" for name, count in sorted(proof.ended.items()))
    yield f"  {proof.jobs} jobs: {ended or 'none ended'}, {len(proof.open)} go on"
    yield f"  {proof.lines} lines of {proof.items} items"
    yield f"  {proof.take_overs} take-overs, {proof.interruptions} interruptions outlived"
    usage = ", ".join(f"{count} {name}" for name, count in sorted(proof.usage.items()))
    yield f"  usage: {usage or 'none'}"
    if proof.recorded_tokens is not None:
        yield f"  usage events: {proof.recorded_tokens} output tokens"
    if proof.too_old:
        yield f"  {proof.too_old} jobs are too old: a part of their log has expired"
    for job in proof.open[:SHOWN]:
        at = f" on {plain(job.node)}" if job.node else ""
        yield f"  {job.tenant}/{job.job}: {job.state}{at}, {job.items_done} items done"
    for flaw in proof.flaws[:SHOWN]:
        item = "" if flaw.item is None else f" item {flaw.item}"
        yield f"  {flaw.kind}: {flaw.tenant}/{flaw.job}{item}: {flaw.cause}; {flaw.remedy}"
    for what, count in (("jobs", len(proof.open)), ("flaws", len(proof.flaws))):
        if count > SHOWN:
            yield f"  and {count - SHOWN} more {what}: --json lists all"
