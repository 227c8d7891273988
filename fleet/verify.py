"""The proof that nothing was lost and nothing said twice, from what the broker stores. Pure.

Feed a `Verifier` with what there is, in this order: the result log, the claims, then what is
queued, then once more the log behind what was read (`later`), then the dead letters. A job that is
not in its queue was acknowledged, and that only after its results were stored; so who reads the
log after the queue sees them.
"""

import math
from collections import Counter
from typing import Final, NamedTuple, TypeAlias

from fleet.endings import CONFLICT
from fleet.job import ResultLine
from fleet.manifest import Manifest, job_id, job_number, starts
from fleet.proof import Flaw, JobState, Kind, Logged, OpenJob, Proof

Key: TypeAlias = tuple[str, str]
# Endings that result lines spell with their error's code; any other error is simply an `error`.
ENDINGS: Final = frozenset({"cancelled", "expired"})


class _Claim(NamedTuple):
    """Who holds a job, and when that was last said."""

    owner: str | None
    written_at: float


class _Log:
    """What the messages of one job add up to."""

    __slots__ = ("batch", "begun_at", "ended", "items", "run", "seen")

    def __init__(self, batch: str, begun_at: float) -> None:
        self.batch = batch
        self.begun_at = begun_at
        self.items: int | None = None
        self.seen = bytearray()
        self.run: str | None = None
        self.ended = ""

    @property
    def complete(self) -> bool:
        return self.items is not None and self.seen.count(1) == self.items


class Verifier:
    """Takes evidence in and says what it proves.

    manifest: of the batch that is looked at; None for all jobs. since: seconds since the epoch; of
    what began before, a part may have expired.
    """

    def __init__(
        self, *, manifest: Manifest | None = None, tenant: str | None = None, since: float = 0.0
    ) -> None:
        self._manifest = manifest
        self._tenant = manifest.tenant if manifest else tenant
        self._since = since
        self._sizes = _sizes(manifest) if manifest else {}
        self._logs: dict[Key, _Log] = {}
        self._claims: dict[Key, _Claim] = {}
        self._queued: set[Key] = set()
        self._young: set[Key] = set()
        self._dead: dict[Key, str] = {}
        self._flaws: list[Flaw] = []
        self._lines = self._take_overs = self._interruptions = 0
        self._resumed: Counter[str] = Counter()
        self._usage: Counter[str] = Counter()
        self._usage_lines: Counter[str] = Counter()
        self._recorded: int | None = None

    def log(self, message: Logged) -> None:
        """Take in a message of the result log; in the log's order."""
        key = (message.tenant, message.job)
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = _Log(message.batch, message.written_at)
        if message.run is None or not (message.is_claim or message.lines):
            return  # none of our runs wrote it, so it proves nothing
        if message.is_claim:
            self._take_overs += 1
            log.run = message.run
            return
        if log.run is None:
            log.run = message.run
        elif log.run != message.run:
            self._flaw(
                "fence", key, None,
                f"message {message.sequence} was written by another run than the one that the last "
                "take-over named: the fence let a lost consumer through",
                "compare the job's messages in RESULTS; the first line of each item counts",
            )  # fmt: skip
        for line in message.lines:
            self._line(key, log, line)

    def later(self, message: Logged) -> None:
        """Take in what the log got meanwhile; a job that is new since may just not be done yet."""
        key = (message.tenant, message.job)
        if not (
            key in self._logs or key in self._claims or key in self._queued or self._is_of(key)
        ):
            self._young.add(key)
        self.log(message)

    def claim(self, tenant: str, job: str, *, owner: str | None, written_at: float) -> None:
        """Take in a claim; written_at: seconds since the epoch."""
        self._claims[tenant, job] = _Claim(owner, written_at)

    def queued(self, tenant: str, job: str) -> None:
        """Take in a job that is stored in its queue, delivered or not."""
        self._queued.add((tenant, job))

    def dead(self, tenant: str, job: str, *, code: str) -> None:
        """Take in a dead letter."""
        self._dead[tenant, job] = code

    def recorded(self, completion_tokens: int) -> None:
        """Take in a usage event."""
        self._recorded = (self._recorded or 0) + completion_tokens

    def proof(self) -> Proof:
        """Judge by what was taken in."""
        ended: Counter[str] = Counter()
        open_jobs: list[OpenJob] = []
        too_old = 0
        keys = self._keys()
        for key in keys:
            log = self._logs.get(key)
            if log is not None and log.complete:
                ended[log.ended] += 1
            elif (going := self._open(key, log)) is not None:
                open_jobs.append(going)
            elif self._is_dead(key, log):
                ended["dead"] += 1
            elif self._began_at(key, log) < self._since:
                too_old += 1
            else:
                self._missing(key, log)
        self._check_usage(is_over=not open_jobs and not too_old)
        return Proof(
            batch=self._manifest.id if self._manifest else None,
            tenant=self._tenant,
            jobs=len(keys),
            ended=dict(ended),
            open=tuple(open_jobs),
            flaws=tuple(self._flaws),
            items=sum(log.items or 0 for log in self._logs.values()),
            lines=self._lines,
            take_overs=self._take_overs,
            interruptions=self._interruptions,
            resumed=dict(self._resumed),
            usage=dict(self._usage),
            usage_lines=dict(self._usage_lines),
            recorded_tokens=self._recorded,
            too_old=too_old,
        )

    def _line(self, key: Key, log: _Log, line: ResultLine) -> None:
        self._lines += 1
        if log.items is None:
            log.items = line.fleet.items
            log.seen = bytearray(log.items)
            self._check_size(key, log.items)
        item = line.fleet.item
        if line.fleet.items != log.items or not 0 <= item < log.items:
            self._flaw(
                "foreign", key, item,
                f"a line says that it is item {item} of {line.fleet.items}, of a job with "
                f"{log.items}: another job wrote under this id",
                "readers leave it out; find who publishes with equal job ids",
            )  # fmt: skip
            return
        if log.seen[item]:
            self._flaw(
                "doubled", key, item, "the item has more than one line in the log",
                "the first one counts, in `fleet batch results` too; keep the log and report it",
            )  # fmt: skip
            return
        log.seen[item] = 1
        ending = "result" if line.error is None else _ending(line.error.code)
        log.ended = "result" if "result" in {ending, log.ended} else ending
        self._interruptions += line.fleet.interruptions
        self._resumed[line.fleet.resumed] += 1
        self._add_usage(key, line)

    def _add_usage(self, key: Key, line: ResultLine) -> None:
        usage = line.usage or {}
        self._usage.update(usage)
        told = _told_usage(line)
        self._usage_lines.update(told)
        parts = usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)
        differs = any(usage.get(name) != count for name, count in told.items())
        if differs or usage.get("total_tokens", parts) != parts:
            self._flaw(
                "usage", key, line.fleet.item,
                f"the line counts {usage}, its answer says {told}", "trust neither; report it",
            )  # fmt: skip

    def _check_size(self, key: Key, items: int) -> None:
        wanted = self._sizes.get(key[1], items)
        if wanted != items:
            self._flaw(
                "foreign", key, None, f"it has {items} items, the batch planned {wanted}",
                "another job was published under this id: submit the file under another name",
            )  # fmt: skip

    def _check_usage(self, *, is_over: bool) -> None:
        """Events may lack what a killed node had not told yet; more than the lines is wrong."""
        delivered = self._usage["completion_tokens"]
        if is_over and self._manifest and (self._recorded or 0) > delivered:
            self._flaw(
                "usage", (self._manifest.tenant, self._manifest.id), None,
                f"usage events count {self._recorded} output tokens, the lines {delivered}",
                "bill by the lines; compare the events `usage_recorded` of the batch",
            )  # fmt: skip

    def _keys(self) -> list[Key]:
        if self._manifest:
            return [(self._manifest.tenant, job) for job in self._sizes]
        return sorted({*self._logs, *self._claims, *self._queued, *self._dead})

    def _is_dead(self, key: Key, log: _Log | None) -> bool:
        """Say whether a dead letter is this job's end.

        It is not where some items have lines, for who gives a job up tells all of them. Nor if it
        is another job's of the same id, whatever became of this one.
        """
        code = self._dead.get(key)
        if code == CONFLICT:
            return log is None and key not in self._claims
        return code is not None and (log is None or log.items is None)

    def _began_at(self, key: Key, log: _Log | None) -> float:
        """Say when the oldest that is known of a job was written."""
        if log is not None:
            return log.begun_at
        if (claim := self._claims.get(key)) is not None:
            return claim.written_at
        return self._manifest.created_at if self._manifest else math.inf

    def _is_of(self, key: Key) -> bool:
        batch = self._manifest
        return batch is not None and job_number(batch.id, key[1]) is not None

    def _open(self, key: Key, log: _Log | None) -> OpenJob | None:
        state: JobState
        claim = self._claims.get(key)
        owner = claim.owner if claim else None
        if key in self._queued or key in self._young:
            state = "running" if owner or key in self._young else "queued"
        elif self._is_unsubmitted(key[1]):
            state = "not_submitted"
        else:
            return None
        done = log.seen.count(1) if log else 0
        return OpenJob(tenant=key[0], job=key[1], state=state, items_done=done, node=owner)

    def _is_unsubmitted(self, job: str) -> bool:
        batch = self._manifest
        if batch is None or batch.is_cancelled:
            return False
        number = job_number(batch.id, job)
        return number is not None and number >= batch.submitted_jobs

    def _missing(self, key: Key, log: _Log | None) -> None:
        """Name what has no end though nobody will work on it any more."""
        where = "it is in no queue, has no dead letter, and "
        remedy = "submit it again with the same id: items that are there are not done twice"
        if log is None or log.items is None:
            self._flaw("missing", key, None, where + "left no result", remedy)
            return
        for item in (item for item, seen in enumerate(log.seen) if not seen):
            self._flaw("missing", key, item, where + "this item has no line", remedy)

    def _flaw(self, kind: Kind, key: Key, item: int | None, cause: str, remedy: str) -> None:
        self._flaws.append(
            Flaw(kind=kind, tenant=key[0], job=key[1], item=item, cause=cause, remedy=remedy)
        )


def _sizes(manifest: Manifest) -> dict[str, int]:
    """Return how many items each job of a batch has; a cancelled one ends with what is queued."""
    edges = starts(manifest.layout)
    jobs = manifest.submitted_jobs if manifest.is_cancelled else manifest.jobs
    return {job_id(manifest.id, n): edges[n + 1] - edges[n] for n in range(jobs)}


def _ending(code: str) -> str:
    return code if code in ENDINGS else "error"


def _told_usage(line: ResultLine) -> dict[str, int]:
    """Read the usage that an answer states in its body."""
    told = line.response.body.get("usage") if line.response else None
    if not isinstance(told, dict):
        return {}
    return {name: count for name, count in told.items() if isinstance(count, int)}
