"""Who owns a job, what of it is saved, and who may take it over.

The claim is one record in the bucket `claims`; every write to it is compare-and-swap on its
revision. Checkpoints travel inside it, so saving progress and proving ownership are one write.
"""

from typing import TypeAlias

import msgspec

# A claim that did not move for this many checkpoint intervals belongs to a hung consumer, even if
# the heart of that consumer beats on.
STALE_INTERVALS = 3
SUSPECTS_MAX = 5


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """An unfinished item: its index, the prompt's token ids, and those generated so far.

    The prompt ids are kept, not rendered again: a chat template may say today's date.
    """

    index: int
    prompt_ids: tuple[int, ...]
    done_ids: tuple[int, ...]


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One job's claim.

    owner: node of the holder, None when released. writer: a random token of the holder's run, so
    that a write whose answer was lost is recognised as one's own. sha256: the job's fingerprint.
    attempts: failures by the job's own fault. interruptions: deliveries that ended without the
    job's fault. suspects: those of them that ended without a word and without progress.
    """

    owner: str | None
    writer: str
    sha256: str
    attempts: int = 0
    interruptions: int = 0
    suspects: int = 0
    progress: int = 0
    saved: tuple[Saved, ...] = ()
    version: int = 1


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
) -> Decision:
    """Choose what to do with a delivery; results are looked at before anything else.

    claim_age_s: seconds since the claim was last written. owner_alive: the heartbeat of the claim's
    owner is there.
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
    if claim.owner is None or not owner_alive:
        return TakeOver(claim, revision)
    if claim_age_s > STALE_INTERVALS * checkpoint_s:
        return TakeOver(claim, revision)
    return GiveBack(delay_s=1.0)


def take_over(claim: Claim | None, *, owner: str, writer: str, sha256: str, progress: int) -> Claim:
    """Write the claim of the next owner.

    progress: items and tokens that exist by now; if it is no more than the last owner began with,
    that owner ended without a word and without progress, which may be the job's fault.
    """
    if claim is None:
        return Claim(
            owner=owner, writer=writer, sha256=sha256, interruptions=1, progress=progress,
            suspects=int(progress == 0),
        )  # fmt: skip
    silent = claim.owner is not None
    suspects = claim.suspects + 1 if silent and progress <= claim.progress else 0
    return msgspec.structs.replace(
        claim,
        owner=owner,
        writer=writer,
        interruptions=claim.interruptions + 1,
        suspects=suspects,
        progress=progress,
    )
