"""`fleet submit`: one request, its answer on stdout as it is made."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any, BinaryIO

import click
import msgspec

from fleet.batch_file import MAX_PART_BYTES
from fleet.cli import options, stores
from fleet.cli.answers import exit_code, print_live, print_notes, print_rest, silence_told
from fleet.cli.reached import reached
from fleet.cli.served import require_served
from fleet.cli.times import Moment
from fleet.errors import BrokerUnreachable, UsageError
from fleet.job import CHAT, COMPLETIONS, EMBEDDINGS, Tier, TokenDelta
from fleet.producer import Producer, Request, Ticket


@click.command("submit")
@click.argument("prompt", required=False)
@options.model
@click.option(
    "--tier",
    type=click.Choice([tier.value for tier in Tier]),
    default="realtime",
    show_default=True,
    help="How soon it is wanted, and so on which nodes it runs.",
)
@click.option(
    "--url",
    type=click.Choice([CHAT, COMPLETIONS, EMBEDDINGS]),
    default=CHAT,
    show_default=True,
    help="The endpoint that the prompt goes to.",
)
@click.option(
    "--max-tokens", type=click.IntRange(1), metavar="N", help="The most tokens to generate."
)
@click.option("--system", metavar="TEXT", help="A system message before the prompt of a chat.")
@click.option(
    "--file",
    type=click.File("rb"),
    help="Instead of a prompt: a JSON request body for --url, or a whole job; `-` is stdin.",
)
@click.option("--deadline", type=Moment(), metavar="WHEN", help="30s, 5m or 2027-01-31T12:00:00Z.")
@click.option("--id", "job_id", metavar="ID", help="The job's id: the same id is the same job.")
@click.option(
    "--via",
    type=click.Choice(["objects", "s3"]),
    default="objects",
    show_default=True,
    help="Where a request goes that is too large for a message (480 KiB).",
)
@click.option("--detach", is_flag=True, help="Print the job's id, and do not wait.")
@click.option("--no-stream", is_flag=True, help="Print the answer when it is complete.")
@options.timeout("the job stays in the queue")
@options.nats
@options.tenant
@options.as_json
def command(**given: Any) -> int:
    """Send one request and print its answer.

    PROMPT is a text; `-` reads it from stdin. With --json stdout holds the result lines instead,
    as OpenAI's batch output has them. With --detach it holds the job's id, for `fleet attach`; with
    both, the ticket: `job`, `tenant`, `model`, `tier`, `sequence` and `sha256` of the body.
    """
    request = _request(
        given["prompt"],
        given["file"],
        url=given["url"],
        system=given["system"],
        max_tokens=given["max_tokens"],
    )
    return options.run(_submit(request, given))


def _request(
    prompt: str | None,
    file: BinaryIO | None,
    *,
    url: str,
    system: str | None,
    max_tokens: int | None,
) -> Request:
    if (prompt is None) == (file is None):
        raise UsageError("give a prompt, or --file: one of them")
    if file is not None:
        if system is not None or max_tokens is not None:
            raise UsageError("--system and --max-tokens belong into the file")
        return _request_of(file.read(MAX_PART_BYTES + 1), url)
    text = sys.stdin.read(MAX_PART_BYTES + 1) if prompt == "-" else prompt
    if system is not None and url != CHAT:
        raise UsageError(f"--system is for {CHAT}")
    body: dict[str, object]
    if url == EMBEDDINGS:
        if max_tokens is not None:
            raise UsageError("an embedding generates no tokens: leave --max-tokens out")
        body = {"input": text}
    elif url == COMPLETIONS:
        body = {"prompt": text}
    else:
        before = [{"role": "system", "content": system}] if system is not None else []
        body = {"messages": [*before, {"role": "user", "content": text}]}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    return {"url": url, "body": body}


def _request_of(content: bytes, url: str) -> Request:
    """Take a file for a whole job if it looks like one, else for the body of a request."""
    try:
        found = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UsageError(f"the file holds no JSON object: {error}") from error
    if found.keys() & {"requests", "body"}:
        return content
    return b'{"url":' + msgspec.json.encode(url) + b',"body":' + content + b"}"


async def _submit(request: Request, given: dict[str, Any]) -> int:
    async with reached(given["nats"], name="fleet-submit") as connection:
        await require_served(connection, given["model"])
        store = stores.opened(given["via"], connection)
        producer = Producer(connection, tenant=given["tenant"], store=store)
        ticket = await producer.submit(
            request,
            model=given["model"],
            tier=given["tier"],
            job_id=given["job_id"],
            deadline=given["deadline"],
            traceparent=os.environ.get("TRACEPARENT"),
        )
        if given["detach"]:
            click.echo(msgspec.json.encode(ticket) if given["as_json"] else ticket.job)
            return 0
        stream = partial(_stream, producer, ticket)
        is_live = not (given["no_stream"] or given["as_json"])
        try:
            async with (
                asyncio.timeout(given["timeout_s"]),
                silence_told(stream, job=ticket.job) as told,
            ):
                end = await print_live(told) if is_live else 0
                lines = await producer.result(ticket)
        except TimeoutError as error:
            raise BrokerUnreachable(
                f"job {ticket.job} has no result after {given['timeout_s']:g} s and stays in the "
                f"queue: the same command with --id {ticket.job} goes on waiting, and "
                f"`fleet attach {ticket.job}` too"
            ) from error
    if given["as_json"]:
        for line in lines:
            click.echo(msgspec.json.encode(line))
    else:
        print_rest(lines, begin=end)
    print_notes(lines)
    return exit_code(lines)


def _stream(producer: Producer, ticket: Ticket, begin: int) -> AsyncGenerator[TokenDelta, None]:
    return producer.stream(ticket, from_offset=begin)
