"""What a proof is made of: a message of the log, a flaw, a job that goes on, the verdict. Pure."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from fleet.job import ResultLine

Verdict: TypeAlias = Literal["proven", "not_proven", "open"]
Kind: TypeAlias = Literal["missing", "doubled", "foreign", "fence", "usage"]
JobState: TypeAlias = Literal["queued", "running", "not_submitted"]


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """One message of the result log.

    run: the token of the run that wrote it, None for what is not ours. lines: () for the record of
    a take-over. written_at: seconds since the epoch.
    """

    sequence: int
    tenant: str
    batch: str
    job: str
    run: str | None
    is_claim: bool
    lines: tuple[ResultLine, ...]
    written_at: float


class Flaw(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that should not be. item: None if it is about the job as a whole."""

    kind: Kind
    tenant: str
    job: str
    item: int | None = None
    cause: str
    remedy: str


class OpenJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that has not ended yet. node: who has it, if anybody does."""

    tenant: str
    job: str
    state: JobState
    items_done: int
    node: str | None = None


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. jobs: how many are known. ended: how many ended how, by name.

    items, lines: of the jobs that left result lines. usage: sums over the items, by name.
    usage_lines: the same sums as the answers themselves state them. recorded_tokens: output tokens
    of the usage events, None if they were not asked for. too_old: jobs that began before the time
    from which all is kept, so that nothing is proven of them.
    """

    batch: str | None
    tenant: str | None
    jobs: int
    ended: Mapping[str, int]
    open: tuple[OpenJob, ...]
    flaws: tuple[Flaw, ...]
    items: int
    lines: int
    take_overs: int
    interruptions: int
    resumed: Mapping[str, int]
    usage: Mapping[str, int]
    usage_lines: Mapping[str, int]
    recorded_tokens: int | None
    too_old: int

    @property
    def verdict(self) -> Verdict:
        """Whether all is proven; `open` while nothing is wrong and something goes on.

        Of all jobs: all that is still kept. Of a batch: all of it, so one of which a part is too
        old is not proven.
        """
        if self.flaws or (self.batch is not None and self.too_old):
            return "not_proven"
        return "open" if self.open else "proven"
