"""`fleet attach`: the answer of a job that was submitted elsewhere, or before."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import click
import msgspec

from fleet.broker.connection import Connection
from fleet.cli import options
from fleet.cli.answers import (
    Stream,
    again,
    exit_code,
    print_live,
    print_notes,
    print_rest,
    silence_told,
)
from fleet.cli.reached import reached
from fleet.errors import BrokerUnreachable, JobFailed
from fleet.follow import Follower, Place, locate
from fleet.job import ResultLine, TokenDelta


@click.command("attach")
@click.argument("job")
@click.option(
    "--from",
    "begin",
    type=click.IntRange(0),
    default=0,
    metavar="OFFSET",
    help="Begin with this character of the answer, from 0.",
)
@click.option("--batch", metavar="NAME", help="The batch that it belongs to; only to find it.")
@options.timeout("the job goes on")
@options.nats
@options.tenant
@options.as_json
def command(**given: Any) -> int:
    """Print the answer of the job with the id JOB: what there is at once, the rest as it is made.

    With --json stdout holds the pieces as they come, an object a line with `item`, `choice`,
    `offset`, `text_offset`, `text`, `token_ids` and `finish_reason`, and then the result lines, as
    OpenAI's batch output has them. Exit code 4 for a job that is neither queued nor has results.
    """
    return options.run(_attach(given))


async def _attach(given: dict[str, Any]) -> int:
    async with reached(given["nats"], name="fleet-attach") as connection:
        try:
            async with asyncio.timeout(given["timeout_s"]):
                place = await locate(
                    connection, tenant=given["tenant"], job=given["job"], batch=given["batch"]
                )
                end, lines = await _follow(connection, place, given)
        except TimeoutError as error:
            raise BrokerUnreachable(
                f"job {given['job']} has no result after {given['timeout_s']:g} s and goes on: "
                "attach again, with --from to leave out what is printed above"
            ) from error
    if given["as_json"]:
        for line in lines:
            click.echo(msgspec.json.encode(line))
    else:
        print_rest(lines, begin=end)
    print_notes(lines)
    return exit_code(lines)


async def _follow(
    connection: Connection, place: Place, given: dict[str, Any]
) -> tuple[int, Sequence[ResultLine]]:
    """Print what comes; return up to which character of the first answer, and the results."""

    def stream(begin: int) -> AsyncGenerator[TokenDelta, None]:
        return Follower(connection, place).stream(from_offset=begin)

    async with silence_told(stream, job=given["job"]) as told:
        if given["as_json"]:
            end = await _print_json(told, given["begin"])
        else:
            end = await print_live(told, begin=given["begin"])
        return end, await Follower(connection, place).result()


async def _print_json(stream: Stream, begin: int) -> int:
    try:
        async with aclosing(stream(begin)) as deltas:
            async for delta in deltas:
                click.echo(msgspec.json.encode(delta))
                sys.stdout.flush()
    except JobFailed as error:
        again(error)
        return await _print_json(stream, 0)
    return 0
