"""What is known of a batch: its record in the bucket `batches`, and how its file was cut into jobs.

A batch of n items is cut into jobs in the order of the file, so job and item index together give an
item's place in the file. Everything here is arithmetic on that.
"""

import re
from collections.abc import Iterable
from itertools import accumulate, chain, groupby, repeat
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from fleet.bounds import Count, Seconds, Time
from fleet.errors import UsageError
from fleet.job import MAX_ITEMS, Tier
from fleet.subjects import identifier

# Six digits, always: a fixed width keeps `<batch>-<n>` unambiguous and in order when sorted.
_DIGITS: Final = 6
MAX_JOBS: Final = 10**_DIGITS
# Requests of a batch, which are the lines of its file.
MAX_LINES: Final = 1_000_000
MAX_BATCH_ID: Final = 64 - 1 - _DIGITS
_JOB: Final = re.compile(rf"(?P<batch>.+)-(?P<number>[0-9]{{{_DIGITS}}})")

# Whether the jobs hold their requests, or point to a store that does.
Via: TypeAlias = Literal["inline", "objects", "s3"]
BatchState: TypeAlias = Literal["submitting", "submitted", "completed", "cancelling", "cancelled"]


class Run(msgspec.Struct, frozen=True, array_like=True):
    """So many jobs in a row with so many items each."""

    jobs: Annotated[int, msgspec.Meta(ge=1, le=MAX_JOBS)]
    items: Annotated[int, msgspec.Meta(ge=1, le=MAX_ITEMS)]


Layout: TypeAlias = tuple[Run, ...]
# What makes a batch the same as another one of its name.
_WORK: Final = ("input_sha256", "model", "tier", "layout", "completion_window_s", "via")


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One batch. It is written before its first job, and moved on after every publish.

    layout: how many items each job holds, in the order of the file. submitted_jobs: jobs known to
    be in the queue; at most one more group of jobs may be there. created_at, deadline: seconds
    since the epoch. completion_window_s: None for no deadline. state: what producers asked for;
    whether a batch is complete is for its results to say, and is noted here once somebody saw it.
    writer: a random token of the process that submits, so that of two at the same batch only the
    later one goes on.
    """

    id: str
    tenant: str
    model: str
    tier: Tier
    input_sha256: str
    input_name: str
    layout: Layout
    created_at: Time
    completion_window_s: Seconds | None = None
    via: Via = "inline"
    state: BatchState = "submitting"
    submitted_jobs: Count = 0
    writer: str = ""
    version: int = 1

    def __post_init__(self) -> None:
        # What is stored may be forged, and work is planned, and room made, by the layout.
        if not 0 <= self.submitted_jobs <= self.jobs <= MAX_JOBS or self.items > MAX_LINES:
            raise ValueError(
                f"{self.submitted_jobs} of {self.jobs} jobs with {self.items} items make no sense"
            )

    @property
    def jobs(self) -> int:
        """The number of jobs."""
        return sum(run.jobs for run in self.layout)

    @property
    def items(self) -> int:
        """The number of items, which is that of the requests in the file."""
        return sum(run.jobs * run.items for run in self.layout)

    @property
    def deadline(self) -> float | None:
        """When its time is over, in seconds since the epoch."""
        if self.completion_window_s is None:
            return None
        return self.created_at + self.completion_window_s

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked for its end: unfinished items get an error line then."""
        return self.state in {"cancelling", "cancelled"}

    def same_work(self, other: "Manifest") -> bool:
        """Whether both ask for the same: then one goes on where the other stopped."""
        return all(getattr(self, name) == getattr(other, name) for name in _WORK)


def layout_of(sizes: Iterable[int]) -> Layout:
    """Fold the number of items of each job, in order, into runs of equal ones."""
    return tuple(Run(sum(1 for _ in group), size) for size, group in groupby(sizes))


def starts(layout: Layout) -> tuple[int, ...]:
    """Return the place of each job's first item, and the number of items as one entry more."""
    sizes = chain.from_iterable(repeat(run.items, run.jobs) for run in layout)
    return tuple(accumulate(sizes, initial=0))


def job_id(batch: str, number: int) -> str:
    """Name the job `number` (from 0) of a batch."""
    return f"{batch}-{number:0{_DIGITS}}"


def job_number(batch: str, job: str) -> int | None:
    """Return the number of a batch's job, or None for a job that is none of this batch."""
    match = _JOB.fullmatch(job)
    return int(match["number"]) if match and match["batch"] == batch else None


def batch_name(text: str) -> str:
    """Return `text` if it may name a batch, so that its jobs' names are valid too."""
    if len(text) > MAX_BATCH_ID:
        raise UsageError(
            f"a batch name has at most {MAX_BATCH_ID} characters, this one {len(text)}: shorten it"
        )
    return identifier(text, what="batch")
