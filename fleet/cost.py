"""A report of what a fleet cost, from its ledger: by pool, model, tenant, batch or day."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

import msgspec

from fleet.bounds import Count
from fleet.events import UsageRecorded
from fleet.interruptions import Interruption, interruptions
from fleet.job import Tier
from fleet.ledger import PARTS, Account, Part, SeriesOf, Use, day_of, uses

By: TypeAlias = Literal["pool", "model", "tenant", "batch", "day"]
BY: Final[tuple[By, ...]] = get_args(By)
# What could have been done on spot.
_FOR_SPOT: Final = frozenset({Tier.BACKGROUND, Tier.BATCH})
NOBODY: Final = "-"


class PartSum(msgspec.Struct, frozen=True):
    """How much of the bill went for one thing. share: of the bill in USD, else of its hours."""

    hours: float
    usd: float
    share: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a report. usd: with its part of what nobody's work can be charged for.

    direct_usd: useful time alone. usd_per_million: output tokens of nodes whose price is known;
    None without any. on_demand_usd: what the work of these would have cost on on-demand, None where
    that price is not known. saved_usd: how much more that is; negative when it is less.
    """

    name: str
    hours: float
    usd: float
    direct_usd: float
    items: Count = 0
    output_tokens: Count = 0
    usd_per_million: float | None = None
    on_demand_usd: float | None = None
    saved_usd: float | None = None


class Fallback(msgspec.Struct, frozen=True):
    """Background and batch work that on-demand did: share of its useful time, and what it cost."""

    share: float
    hours: float
    usd: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a fleet cost.

    bill_usd: of the nodes whose price is known; `unpriced_hours` of others come on top, and are
    compared with nothing. parts: they sum to the bill. saved_share: of what on-demand would have
    cost. unmetered: nodes that did not tell how they spent their time, all of which counts as idle.
    """

    nodes: Count
    node_hours: float
    bill_usd: float
    unpriced_hours: float
    unmetered: tuple[str, ...]
    parts: dict[Part, PartSum]
    items: Count
    failed_items: Count
    prompt_tokens: Count
    output_tokens: Count
    usd_per_million: float | None
    on_demand_usd: float | None
    saved_usd: float | None
    saved_share: float | None
    fallback: Fallback
    interruptions: tuple[Interruption, ...]
    interruptions_usd: float
    by: By | Literal["job"]
    rows: tuple[Row, ...]


class Piece(NamedTuple):
    """An entry with what a report asks of it."""

    account: Account
    day: str
    part: Part
    use: Use | None
    seconds: float
    usd: float
    on_demand_usd: float


def report(
    accounts: Sequence[Account],
    on_demand_of: SeriesOf,
    *,
    by: By = "pool",
    since: float = -math.inf,
) -> Report:
    """Sum up a ledger. on_demand_of: the on-demand prices of what a life ran on."""
    pieces = [piece for account in accounts for piece in _pieces(account, on_demand_of)]
    records = [(account, use) for account in accounts for use in uses(account, since=since)]
    comparable = _comparable(accounts, on_demand_of)
    bill, hours = math.fsum(p.usd for p in pieces), _hours(pieces)
    on_demand = math.fsum(p.on_demand_usd for p in pieces) if comparable else None
    tokens = sum(record.completion_tokens for _, record in records)
    ends = interruptions(accounts)
    return Report(
        nodes=len(accounts),
        node_hours=hours,
        bill_usd=bill,
        unpriced_hours=math.fsum(a.seconds for a in accounts if a.usd is None) / 3600,
        unmetered=tuple(a.life.node for a in accounts if not a.metered),
        parts=_parts(pieces, bill, hours),
        items=sum(record.items for _, record in records),
        failed_items=sum(record.failed_items for _, record in records),
        prompt_tokens=sum(record.prompt_tokens for _, record in records),
        output_tokens=tokens,
        usd_per_million=_per_million(bill, _priced_tokens(records)),
        on_demand_usd=on_demand,
        saved_usd=None if on_demand is None else on_demand - bill,
        saved_share=1 - bill / on_demand if on_demand else None,
        fallback=_fallback(pieces),
        interruptions=tuple(ends),
        interruptions_usd=math.fsum(end.usd for end in ends),
        by=by,
        rows=tuple(_rows(by, pieces, records, comparable=comparable)),
    )


def _comparable(accounts: Sequence[Account], on_demand_of: SeriesOf) -> bool:
    # A bill that nothing is in is no saving.
    if accounts and all(account.usd is None for account in accounts):
        return False
    return all(on_demand_of(one.life) is not None for one in accounts if _is_compared(one))


def _is_compared(account: Account) -> bool:
    """Whether the bill has spot in it that could have been on-demand."""
    return account.life.capacity_type == "spot" and account.usd is not None


def _priced_tokens(records: Iterable[tuple[Account, UsageRecorded]]) -> int:
    return sum(used.completion_tokens for account, used in records if account.usd is not None)


def _pieces(account: Account, on_demand_of: SeriesOf) -> Iterator[Piece]:
    """Set beside each entry what it would have cost on on-demand.

    Work on spot: the same seconds at the other price, without a second of waste. What runs on
    on-demand anyway would run there just so.
    """
    life, rate = account.life, 0.0
    if _is_compared(account) and account.seconds:
        series = on_demand_of(life)
        paid_from = life.end - account.seconds
        rate = series.cost(paid_from, life.end) / account.seconds if series else 0.0
    for entry in account.entries:
        instead = entry.usd
        if life.capacity_type == "spot":
            instead = entry.seconds * rate if entry.part in {"useful", "in_hand"} else 0.0
        yield Piece(account, entry.day, entry.part, entry.use, entry.seconds, entry.usd, instead)


def _parts(pieces: Sequence[Piece], bill: float, hours: float) -> dict[Part, PartSum]:
    sums: dict[Part, PartSum] = {}
    for part in PARTS:
        own = [piece for piece in pieces if piece.part == part]
        usd, part_h = math.fsum(p.usd for p in own), _hours(own)
        share = usd / bill if bill else part_h / hours if hours else 0.0
        sums[part] = PartSum(part_h, usd, share)
    return sums


def _fallback(pieces: Iterable[Piece]) -> Fallback:
    work = [p for p in pieces if p.use is not None and p.use.tier in _FOR_SPOT]
    fallen = [p for p in work if p.account.life.capacity_type == "on-demand"]
    all_h, fallen_h = _hours(work), _hours(fallen)
    return Fallback(fallen_h / all_h if all_h else 0.0, fallen_h, math.fsum(p.usd for p in fallen))


def _rows(
    by: By,
    pieces: Sequence[Piece],
    records: Sequence[tuple[Account, UsageRecorded]],
    *,
    comparable: bool,
) -> list[Row]:
    """Group the pieces; each row gets its share of what its pools spent on nobody's work."""
    groups: dict[str, list[Piece]] = {}
    for piece in _charged(pieces) if by in {"tenant", "batch"} else pieces:
        groups.setdefault(_name(by, piece), []).append(piece)
    done: dict[str, list[tuple[Account, UsageRecorded]]] = {}
    for account, record in records:
        use = Use(record.tenant, record.tier, record.batch)
        piece = Piece(account, day_of(record.at), "useful", use, 0.0, 0.0, 0.0)
        done.setdefault(_name(by, piece), []).append((account, record))
    rows = []
    for name in groups.keys() | done.keys():
        own, used = groups.get(name, []), done.get(name, [])
        rows.append(
            row(
                name,
                hours=_hours(own),
                usd=math.fsum(p.usd for p in own),
                direct_usd=math.fsum(p.usd for p in own if p.part == "useful"),
                items=sum(r.items for _, r in used),
                output_tokens=sum(r.completion_tokens for _, r in used),
                priced_tokens=_priced_tokens(used),
                on_demand_usd=math.fsum(p.on_demand_usd for p in own) if comparable else None,
            )
        )
    if by == "day":
        return sorted(rows, key=lambda one: one.name)
    return sorted(rows, key=lambda one: (-one.usd, -one.hours, one.name))


def row(
    name: str, *, hours: float, usd: float, direct_usd: float, items: int, output_tokens: int,
    priced_tokens: int, on_demand_usd: float | None,
) -> Row:  # fmt: skip
    """Make a row of its sums. priced_tokens: of nodes whose price is known."""
    return Row(
        name=name,
        hours=hours,
        usd=usd,
        direct_usd=direct_usd,
        items=items,
        output_tokens=output_tokens,
        usd_per_million=_per_million(usd, priced_tokens),
        on_demand_usd=on_demand_usd,
        saved_usd=None if on_demand_usd is None else on_demand_usd - usd,
    )


def _charged(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Charge what is nobody's work to those who worked in the same pool, by their useful time.

    What was paid in a pool without any work stays nobody's.
    """
    work: dict[str, dict[Use, float]] = {}
    rest: dict[str, list[Piece]] = {}
    for piece in pieces:
        if piece.use is None:
            rest.setdefault(_pool(piece), []).append(piece)
            continue
        yield piece
        sums = work.setdefault(_pool(piece), {})
        sums[piece.use] = sums.get(piece.use, 0.0) + piece.seconds
    for pool, unused in rest.items():
        sums = work.get(pool, {})
        if not sums:
            yield from unused
            continue
        seconds, usd = math.fsum(p.seconds for p in unused), math.fsum(p.usd for p in unused)
        instead, total = math.fsum(p.on_demand_usd for p in unused), math.fsum(sums.values())
        for use, worked_s in sums.items():
            share = worked_s / total
            yield unused[0]._replace(
                use=use, seconds=seconds * share, usd=usd * share, on_demand_usd=instead * share
            )


def _pool(piece: Piece) -> str:
    return f"{piece.account.life.capacity_type} {piece.account.life.model}"


def _batch(piece: Piece) -> str:
    return batch_name(piece.use.tenant, piece.use.batch) if piece.use else NOBODY


def batch_name(tenant: str, batch: str | None) -> str:
    """Name a row: a batch of a tenant, or all of its jobs that belong to none."""
    return f"{tenant}/{batch or NOBODY}"


_NAMES: Final[dict[By, Callable[[Piece], str]]] = {
    "pool": _pool,
    "model": lambda piece: piece.account.life.model,
    "tenant": lambda piece: piece.use.tenant if piece.use else NOBODY,
    "batch": _batch,
    "day": lambda piece: piece.day,
}


def _name(by: By, piece: Piece) -> str:
    return _NAMES[by](piece)


def _hours(pieces: Iterable[Piece]) -> float:
    return math.fsum(piece.seconds for piece in pieces) / 3600


def _per_million(usd: float, tokens: int) -> float | None:
    return usd / tokens * 1e6 if tokens else None
