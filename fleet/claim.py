"""Who owns a job, what of it is saved, and who may take it over.

The claim is one record in the bucket `claims`; every write to it is compare-and-swap on its
revision. Checkpoints travel inside it, so saving progress and proving ownership are one write.
"""

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeAlias

import msgspec

from fleet.bounds import Count, Time
from fleet.subjects import TOKEN

# A claim that did not move for this many checkpoint intervals belongs to a hung consumer, even if
# the heart of that consumer beats on.
STALE_INTERVALS = 3
# So many crashes in a row without progress, and the job's items run one at a time.
SUSPECTS_MAX = 3
# So many crashes while an item ran alone, and it is the item. One may be a reclaimed node.
ALONE_MAX = 2
# So many failures by the job's own fault, and what is left of it is given up.
ATTEMPTS_MAX = 3
HISTORY_MAX = 12
BACKOFF_MAX_S = 60.0
# A job that must run alone is offered to another consumer so much later.
ISOLATED_DELAY_S = 5.0

# Who may write to the bucket may write anything. A record that is not of this form is no claim.
NodeName: TypeAlias = Annotated[str, msgspec.Meta(pattern=rf"^{TOKEN.pattern}\Z")]
# silent: its owner ended without a word. engine_died: the owner lived on and said so.
End = Literal["released", "silent", "engine_died", "failed"]


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """An unfinished item: its index, the prompt's token ids, and those generated so far.

    The prompt ids are kept, not rendered again: a chat template may say today's date.
    """

    index: int
    prompt_ids: tuple[int, ...]
    done_ids: tuple[int, ...]


class Elsewhere(msgspec.Struct, frozen=True, array_like=True):
    """Where saved items lie that are too large for a claim: who wrote them, and their digest."""

    writer: str
    sha256: str


class Past(msgspec.Struct, frozen=True, array_like=True):
    """How one owner's time with a job ended. at: seconds since the epoch, by the writer's clock."""

    at: Time
    node: str
    how: End

    @property
    def told(self) -> str:
        """The same in words, for a dead letter."""
        when = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="seconds")
        return f"{when} {self.how.replace('_', ' ')} {self.node}".rstrip()


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One job's claim.

    owner: node of the holder, None when released. writer: a random token of the holder's run, so
    that a write whose answer was lost is recognised as one's own. sha256: the job's fingerprint.
    attempts: failures by the job's own fault. interruptions: deliveries that ended without the
    job's fault. suspects: crashes in a row that ended without progress. progress: what existed
    when the owner began. items_done: with a line in the log or on its way there, for who looks on;
    None where nobody said it. elsewhere: as stored, instead of a `saved` that is large. trying: the
    item that runs alone, in a job whose items do. blamed: the items that ran alone when a consumer
    crashed, once for each crash. history: the newest last. trace: the `traceparent` of the delivery
    that began the job.
    """

    owner: NodeName | None
    writer: str
    sha256: str
    attempts: Count = 0
    interruptions: Count = 0
    suspects: Count = 0
    progress: Count = 0
    saved: tuple[Saved, ...] = ()
    elsewhere: Elsewhere | None = None
    trying: int | None = None
    blamed: tuple[int, ...] = ()
    history: tuple[Past, ...] = ()
    items_done: Count | None = None
    trace: str | None = None
    version: int = 1

    @property
    def isolated(self) -> bool:
        """Whether the items have to run one at a time, with no other job beside them."""
        return self.suspects >= SUSPECTS_MAX

    @property
    def condemned(self) -> frozenset[int]:
        """The items that are not run any more."""
        return frozenset(i for i, times in Counter(self.blamed).items() if times >= ALONE_MAX)


class Start(msgspec.Struct, frozen=True, tag=True):
    """Nobody worked on this job before: begin."""


class TakeOver(msgspec.Struct, frozen=True, tag=True):
    """Somebody did: go on from `claim`, writing over `revision` (0: there was no claim)."""

    claim: Claim | None
    revision: int


class GiveBack(msgspec.Struct, frozen=True, tag=True):
    """Its owner lives and works on it: hand the delivery back for `delay_s` seconds."""

    delay_s: float


class Done(msgspec.Struct, frozen=True, tag=True):
    """Every item has its line already: only the acknowledgement is missing."""


class Conflict(msgspec.Struct, frozen=True, tag=True):
    """The id is taken by a job with other content."""


Decision: TypeAlias = Start | TakeOver | GiveBack | Done | Conflict


def decide(
    *,
    sha256: str,
    redelivered: bool,
    log_sha256: str | None,
    log_complete: bool,
    claim: Claim | None,
    revision: int,
    claim_age_s: float,
    owner_alive: bool,
    checkpoint_s: float,
    isolates: bool = True,
) -> Decision:
    """Choose what to do with a delivery; results are looked at before anything else.

    claim_age_s: seconds since the claim was last written. owner_alive: the heartbeat of the claim's
    owner is there. isolates: whether a job that must run alone may do so here.
    """
    known = log_sha256 or (claim.sha256 if claim else None)
    if known is not None and known != sha256:
        return Conflict()
    if log_complete:
        return Done()
    if claim is None:
        # The log may hold lines of a consumer that died before its first checkpoint, and a revision
        # without a claim is a record that cannot be read: it is written over.
        began = redelivered or revision > 0 or log_sha256 is not None
        return TakeOver(None, revision) if began else Start()
    if claim.isolated and not isolates:
        return GiveBack(delay_s=ISOLATED_DELAY_S)
    is_held = claim.owner is not None and owner_alive
    if is_held and claim_age_s <= STALE_INTERVALS * checkpoint_s:
        return GiveBack(delay_s=1.0)
    return TakeOver(claim, revision)


def take_over(
    claim: Claim | None, *, owner: str, writer: str, sha256: str, progress: int, at: float
) -> Claim:
    """Write the claim of the next owner. progress: items and tokens that exist by now."""
    if claim is None:
        return Claim(
            owner=owner, writer=writer, sha256=sha256, interruptions=1, progress=progress,
            suspects=int(progress == 0), history=(Past(at, "", "silent"),),
        )  # fmt: skip
    if claim.owner is not None:
        claim = crashed(claim, progress=progress, at=at, how="silent")
    elif progress > claim.progress and not claim.isolated:
        claim = msgspec.structs.replace(claim, suspects=0)
    failed = bool(claim.history) and claim.history[-1].how == "failed"
    return msgspec.structs.replace(
        claim,
        owner=owner,
        writer=writer,
        interruptions=claim.interruptions + (not failed),
        progress=progress,
        trying=None,
    )


def crashed(claim: Claim, *, progress: int, at: float, how: End) -> Claim:
    """Book that the owner, or its engine, died with the job in hand, which may be the job's fault.

    Whoever made progress is above suspicion. Once the items run alone a crash names the item, and
    when one is condemned the others are free again.
    """
    blamed = claim.blamed if claim.trying is None else (*claim.blamed, claim.trying)
    accused = msgspec.structs.replace(claim, blamed=blamed)
    if accused.condemned != claim.condemned:
        suspects = 0
    elif claim.isolated:
        suspects = claim.suspects
    else:
        suspects = claim.suspects + 1 if progress <= claim.progress else 0
    return ended(msgspec.structs.replace(accused, suspects=suspects, trying=None), at=at, how=how)


def ended(claim: Claim, *, at: float, how: End) -> Claim:
    """Note in the history how the owner's time ended; the claim still names it."""
    past = Past(at, claim.owner or "", how)
    return msgspec.structs.replace(claim, history=(*claim.history, past)[-HISTORY_MAX:])


def backoff_s(attempts: int) -> float:
    """Return how long to wait after so many failed attempts, from 1: 1, 2, 4 ... 60 seconds."""
    return min(BACKOFF_MAX_S, 2.0 ** (attempts - 1))
