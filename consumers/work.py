"""One job in this consumer's hands: what is done, what runs, what is saved where."""

import asyncio
import secrets
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

import msgspec

from consumers.answer import Answer
from consumers.drain_plan import Pace
from consumers.feed import Telling
from consumers.meter import Share
from fleet.claim import Claim, Saved
from fleet.job import BadItem, Item, Job, ResultLine, Resumed, WireError


class ItemRun:
    """One item of the job on its way.

    saved: what an earlier consumer left of it. began: whether this one gave it to its engine.
    answers: the sequences once they run. keeps: whether their tokens are worth saving, because an
    interrupted answer goes on from them. error: how it failed in this attempt. share: of the
    engine's time.
    """

    def __init__(self, item: Item | BadItem, saved: Saved | None) -> None:
        self.item = item
        self.saved = saved
        self.began = False
        self.answers: Sequence[Answer] = ()
        self.keeps = False
        self.resumed: Resumed = "no"
        self.error: WireError | None = None
        self.share = Share()
        self._taken_at = time.monotonic()

    @property
    def pace(self) -> Pace:
        """How far it is, and how fast it came here."""
        before = len(self.saved.done_ids) if self.saved and self.keeps else 0
        made = sum(len(answer.ids) for answer in self.answers)
        return Pace(
            to_go=sum(answer.limit for answer in self.answers) - made if self.answers else 1,
            made=max(0, made - before),
            for_s=time.monotonic() - self._taken_at,
            keeps=self.keeps,
        )

    def save(self) -> Saved | None:
        """Return what of it is worth keeping; None if there is nothing.

        An item that has to start again from zero is kept without tokens, so that it is counted.
        """
        if not any(answer.ids for answer in self.answers):
            return self.saved
        if self.keeps:
            answer = self.answers[0]
            return Saved(self.item.index, answer.prompt_ids, tuple(answer.ids))
        return Saved(self.item.index, (), ())


class Work:
    """The state of one job between its delivery and its settlement.

    last: sequence of the newest message in the job's result log, the fence of the next append.
    claim, revision: None and 0 until the first checkpoint of a job that nobody had before.
    writer: a token of this run alone, in whatever it writes, so that it knows its writes again.
    given_up: which of the `done` items were. trace: the `traceparent` of this delivery. on_item:
    called for every item that is finished.
    """

    def __init__(
        self,
        job: Job,
        *,
        done: frozenset[int],
        given_up: frozenset[int] = frozenset(),
        last: int,
        claim: Claim | None = None,
        revision: int = 0,
        writer: str | None = None,
        trace: str | None = None,
        on_item: Callable[[], None] = lambda: None,
    ) -> None:
        self.job = job
        self.trace = trace
        self._on_item = on_item
        self.last = last
        self.claim = claim
        self.revision = revision
        self.pending: list[ResultLine] = []
        self.writer = writer or secrets.token_hex(8)
        self.changed = asyncio.Event()
        self.telling: Telling | None = None
        self.trying: int | None = None
        self._marked = asyncio.Event()
        saved = {entry.index: entry for entry in claim.saved} if claim else {}
        self._done = len(done)
        self._given_up = len(given_up)
        self._shares: dict[int, Share] = {}
        self._open: dict[int, ItemRun] = {
            item.index: ItemRun(item, saved.get(item.index))
            for item in job.items
            if item.index not in done
        }

    @property
    def open(self) -> list[ItemRun]:
        """The items without a line, in order."""
        return list(self._open.values())

    @property
    def paces(self) -> list[Pace]:
        """How far the items are that may still be finished in this attempt."""
        return [run.pace for run in self._open.values() if run.error is None]

    @property
    def complete(self) -> bool:
        """Whether every item has its line, written or pending."""
        return not self._open

    @property
    def failed(self) -> WireError | None:
        """Why nothing goes on, if every item that is left has failed: the last of the reasons."""
        errors = [run.error for run in self._open.values()]
        return errors[-1] if errors and all(errors) else None

    @property
    def began(self) -> bool:
        """Whether an item that has no line yet was given to our engine."""
        return any(run.began for run in self._open.values())

    @property
    def hopeless(self) -> bool:
        """Whether every item of the job was given up."""
        return self._given_up == len(self.job.items)

    @property
    def waits_for_mark(self) -> bool:
        """Whether an item that is to run alone waits until the claim says so."""
        return self.trying is not None and not self._marked.is_set()

    @property
    def items_done(self) -> int:
        """How many items have their line."""
        return self._done

    @property
    def interruptions(self) -> int:
        """How many consumers this job outlived."""
        return self.claim.interruptions if self.claim else 0

    @property
    def attempts(self) -> int:
        """How often the job failed by its own fault."""
        return self.claim.attempts if self.claim else 0

    def finish(self, line: ResultLine) -> None:
        """Book a finished item; it is safe only after the next append."""
        self._shares[line.fleet.item] = self._open.pop(line.fleet.item).share
        self._done += 1
        self.pending.append(line)
        self.changed.set()
        self._on_item()

    def give_up(self, line: ResultLine) -> None:
        """Book the error line of an item that fails each time, or kills consumers."""
        self._given_up += 1
        self.finish(line)

    def fail(self, run: ItemRun, error: WireError) -> None:
        """Book that an item failed in this attempt; it stays open for the next one."""
        run.error = error
        self.changed.set()

    async def mark(self, run: ItemRun) -> None:
        """Let the claim name the item that runs alone from now on; returns when it does."""
        self.trying = run.item.index
        self._marked.clear()
        self.changed.set()
        await self._marked.wait()

    def marked(self) -> None:
        """The claim names the item."""
        self._marked.set()

    def saved(self) -> tuple[Saved, ...]:
        """Collect what a checkpoint has to keep of the unfinished items."""
        return tuple(kept for run in self._open.values() if (kept := run.save()) is not None)

    def written(self, items: Container[int]) -> tuple[ResultLine, ...]:
        """Take the lines of `items` off the pending ones: they are in the log."""
        lines = tuple(line for line in self.pending if line.fleet.item in items)
        self.pending = [line for line in self.pending if line.fleet.item not in items]
        return lines

    def used(self) -> dict[int, float]:
        """Tell how much of the engine each item used of which a checkpoint now keeps the tokens."""
        runs = self._open.values()
        return {run.item.index: run.share.used_s for run in runs if run.keeps and run.answers}

    def secure(self, used_s: Mapping[int, float]) -> float:
        """Note that a checkpoint keeps what was made by then; return how much is so only now."""
        return sum(self._share(index).secure(used) for index, used in used_s.items())

    def secure_written(self, items: Iterable[int]) -> float:
        """Note that the lines of `items` are in the log; return the time that is safe only now."""
        shares = [self._shares.pop(index) for index in items if index in self._shares]
        return sum(share.secure(share.used_s) for share in shares)

    def _share(self, index: int) -> Share:
        run = self._open.get(index)
        # One that finished while the checkpoint was written: its line is pending.
        return run.share if run else self._shares[index]

    @property
    def progress(self) -> int:
        """How much of the job exists."""
        return progress(self._done, self.saved())

    def next_claim(self, *, owner: str | None) -> Claim:
        """Build the claim that a checkpoint writes; owner None releases the job."""
        base = self.claim or Claim(owner=owner, writer=self.writer, sha256=self.job.sha256)
        return msgspec.structs.replace(
            base,
            owner=owner,
            writer=self.writer,
            saved=self.saved(),
            trying=self.trying,
            items_done=self._done,
            trace=base.trace or self.trace,
        )


def progress(items_done: int, saved: Sequence[Saved]) -> int:
    """Count what exists of a job: an item weighs as much as more tokens than any item has."""
    return items_done * 1_000_000 + sum(len(entry.done_ids) for entry in saved)
