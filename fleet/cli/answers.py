"""Answers on the terminal: as they are made, when they are complete, and what they took."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

import click
import msgspec

from fleet.broker.beside import Beside
from fleet.cli.terminal import write
from fleet.errors import JobFailed
from fleet.job import ResultLine, TokenDelta
from fleet.live_answer import RESTARTED, choices
from fleet.subjects import plain

FAILED: Final = 1
SOME_FAILED: Final = 3
# A reader of the terminal is told so often that there is nothing new.
NOTE_S: Final = 10.0

# Gives a job's deltas from a character on.
Stream = Callable[[int], AsyncGenerator[TokenDelta, None]]


class _Vector(msgspec.Struct, frozen=True):
    embedding: list[float] | str


class _Vectors(msgspec.Struct, frozen=True):
    data: tuple[_Vector, ...] = ()


@asynccontextmanager
async def silence_told(stream: Stream, *, job: str) -> AsyncIterator[Stream]:
    """Say on stderr now and then that there is nothing new; give the stream that resets it."""
    heard_at = time.monotonic()

    async def tell() -> None:
        while True:
            await asyncio.sleep(NOTE_S)
            silent_s = time.monotonic() - heard_at
            if silent_s >= NOTE_S:
                click.echo(
                    f"fleet: nothing new for {silent_s:.0f} s, still waiting; `fleet why {job}` "
                    "tells what for",
                    err=True,
                )

    async def heard(begin: int) -> AsyncGenerator[TokenDelta, None]:
        nonlocal heard_at
        async with aclosing(stream(begin)) as deltas:
            async for delta in deltas:
                heard_at = time.monotonic()
                yield delta

    async with Beside(tell()):
        yield heard


async def print_live(stream: Stream, *, begin: int = 0) -> int:
    """Print the first answer from character `begin` on, as it comes; return where it ended.

    Others follow when all is complete. An answer that had to be begun again is printed again.
    """
    end = begin
    try:
        async with aclosing(stream(begin)) as deltas:
            async for delta in deltas:
                if (delta.item, delta.choice) == (0, 0):
                    write(delta.text)
                    end = delta.text_offset + len(delta.text)
    except JobFailed as error:
        again(error)
        write("\n")
        return await print_live(stream)
    return end


def again(error: JobFailed) -> None:
    """Say that an answer follows once more; raises the error if it is another one."""
    if error.code != RESTARTED:
        raise error
    click.echo(f"\nfleet: {error}; it follows", err=True)


def print_rest(lines: Sequence[ResultLine], *, begin: int) -> None:
    """Print what was not printed live: every answer on a line of its own.

    begin: the first character of the first answer that is still missing.
    """
    is_first = True
    for line in lines:
        for choice in choices(line):
            write((choice.text[begin:] if is_first else choice.text) + "\n")
            is_first = False
        if line.response is not None:
            for vector in msgspec.convert(line.response.body, _Vectors).data:
                click.echo(msgspec.json.encode(vector.embedding))
    if begin and is_first:
        write("\n")  # it began well, and ended in an error


def print_notes(lines: Sequence[ResultLine]) -> None:
    """Say on stderr what went wrong and what the answer took."""
    for line in lines:
        if line.error is not None:
            where = f"item {line.fleet.item}: " if len(lines) > 1 else ""
            click.echo(
                f"fleet: {where}{plain(line.error.code)}: {plain(line.error.message)}", err=True
            )
    usage = {
        name: sum((line.usage or {}).get(name, 0) for line in lines)
        for name in ("prompt_tokens", "completion_tokens")
    }
    nodes = dict.fromkeys(f"{line.fleet.node} ({line.fleet.capacity_type})" for line in lines)
    interruptions = sum(line.fleet.interruptions for line in lines)
    click.echo(
        f"{usage['prompt_tokens']} prompt and {usage['completion_tokens']} output tokens, "
        f"{', '.join(nodes)}, {interruptions} interruptions",
        err=True,
    )


def exit_code(lines: Sequence[ResultLine]) -> int:
    """Return 0 if all is well, else one of the codes for failed items."""
    failed = sum(line.error is not None for line in lines)
    return 0 if not failed else FAILED if failed == len(lines) else SOME_FAILED
