"""The lines that frame every view: how the fleet does, and what needs a look. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len

from dashboard import units
from dashboard.findings import Finding
from dashboard.lines import Line, Piece, cut
from dashboard.look import Look
from dashboard.model import fleet_rows, totals
from dashboard.picture import Picture
from dashboard.queue_rows import queue_totals
from dashboard.snapshot import Moment
from dashboard.table import Order, Tone

Group = tuple[Piece, ...]
# A view whose data is older than this many looks, and this many seconds, is not of now.
_LOOKS: Final = 3
_OLD_S: Final = 10.0
_TONES: Final[dict[str, Tone]] = {"critical": "bad", "warning": "warn", "unknown": "dim"}
_SPARK: Final = 16
_MORE: Final = 4


def masthead(picture: Picture, view: str, width: int, look: Look) -> Line:
    """Make the first line: whether it is of now, and the fleet in numbers."""
    groups: list[Group] = [(Piece(" Overbook ", "strong"),), _data(picture, view, look)]
    if picture.frozen:
        groups.append((Piece(f"{look.glyph('paused')} FROZEN ", "warn"),))
    if picture.acts:
        groups.append((Piece("ACTIONS ", "warn"),))
    groups += _sums(picture, look)
    if not picture.acts:
        groups.append((Piece("read-only ", "dim"),))
    return Line(_fit(groups, width))


def _data(picture: Picture, view: str, look: Look) -> Group:
    snapshot = picture.snapshot
    if snapshot is None:
        return (Piece("waiting for the first data  ", "warn"),)
    age_s = picture.age_s(view)
    if not snapshot.connected:
        return (Piece(f"{look.glyph('lost')} no broker, data {units.age(age_s)} old  ", "bad"),)
    if age_s is None:
        return (Piece(f"{look.glyph('lost')} never read  ", "warn"),)
    word = "live" if picture.is_live else "recorded"
    old = age_s > max(_OLD_S, _LOOKS * picture.interval_s) and view != "cost"
    tone: Tone = "warn" if old or not picture.is_live else "ok"
    return (
        Piece(f"{look.glyph('live')} {word} ", tone),
        Piece(f"{units.age(age_s)} old  ", "warn" if old else "dim"),
    )


def _sums(picture: Picture, look: Look) -> Iterable[Group]:
    snapshot = picture.snapshot
    if snapshot is None:
        return
    if "nodes" not in snapshot.read_at:
        yield (Piece(f"{units.DASH} ready  ", "dim"),)
        return
    sums = totals(fleet_rows(snapshot, picture.window_s))
    work = queue_totals(snapshot)
    yield (Piece(f"{sums.ready}/{sums.nodes}", "strong"), Piece(" ready  ", "dim"))
    if sums.leaving:
        yield (Piece(f"{look.glyph('leaving')} {sums.leaving} leaving  ", "bad"),)
    yield (Piece(units.rate(sums.tokens_per_s), "strong"),
           Piece(f" tok/s {picture.window}  ", "dim"))  # fmt: skip
    yield (Piece(units.usd(sums.usd_per_hour), "strong"), Piece("/h  ", "dim"))
    yield (Piece(units.count(work.waiting), "strong"), Piece(" waiting  ", "dim"))
    yield (Piece(units.count(work.in_flight), "strong"), Piece(" in flight  ", "dim"))
    if sums.lost:
        yield (Piece(f"{look.glyph('lost')} {sums.lost} lost  ", "bad"),)


def tabs(
    views: Sequence[str], current: str, found: Sequence[Finding], picture: Picture, *, width: int,
    look: Look,
) -> Line:  # fmt: skip
    """Make the second line: the views, and how many things need a look in each."""
    pieces: list[Piece] = []
    for number, name in enumerate(views, start=1):
        count = sum(one.view == number for one in found)
        badge = f"{look.glyph('alarm')}{count}" if count else ""
        title = f" {number} {name.capitalize()}{badge} "
        tone: Tone = "tab" if name == current else "warn" if count else "plain"
        pieces.append(Piece(title, tone))
    used = sum(cell_len(piece.text) for piece in pieces)
    how = f"window {picture.window}  every {picture.interval_s:.0f}s "
    if used + len(how) <= width:
        pieces.append(Piece(how.rjust(width - used), "dim"))
    return Line(tuple(pieces))


def alarm_lines(found: Sequence[Finding], *, width: int, most: int, look: Look) -> list[Line]:
    """Lay out what needs a look, worst first, and as many of them as `most` lines hold.

    What could not be read is the text of each finding that rests on it, and stands there once.
    """
    by_text: dict[str, Finding] = {}
    for one in found:
        by_text.setdefault(one.text, one)
    found = list(by_text.values())
    if not found:
        return [Line((Piece(" nothing needs a look", "dim"),))]
    rows: list[list[Piece]] = [[]]
    left = width
    for n, one in enumerate(found):
        text, tone = f" {look.glyph('alarm')} {look.text(one.text)} ", _TONES[one.level]
        cells = cell_len(text)
        # Room for the number of those that found none, until none is left.
        reserve = _MORE if n + 1 < len(found) and len(rows) == most else 0
        if cells > left - reserve and rows[-1]:
            if len(rows) == most:
                rows[-1].append(Piece(f" +{len(found) - n}", "warn"))
                break
            rows.append([])
            left = width
        rows[-1].append(Piece(cut(text, width - _MORE, look), tone))
        left -= min(cells, width - _MORE)
    return [Line(tuple(pieces)) for pieces in rows]


def trends(moments: Sequence[Moment], window: str, width: int, look: Look) -> Line:
    """Make the line of sparklines over the window."""
    curves: tuple[tuple[str, list[float | None]], ...] = (
        ("tok/s", [moment.tokens_per_s for moment in moments]),
        ("$/h", [moment.usd_per_hour for moment in moments]),
        ("waiting", [moment.waiting for moment in moments]),
        ("in flight", [moment.in_flight for moment in moments]),
        ("nodes", [moment.nodes for moment in moments]),
    )
    groups: list[Group] = [(Piece(f" {window} ", "dim"),)]
    for name, values in curves:
        newest = values[-1] if values else None
        shown = units.usd(newest) if name == "$/h" else units.rate(newest)
        groups.append((
            Piece(f" {name} ", "dim"),
            Piece(look.spark(values, _SPARK), "on-demand"),
            Piece(f" {shown:<6}", "plain"),
        ))  # fmt: skip
    return Line(_fit(groups, width))


class Standing(NamedTuple):
    """Which row of how many the cursor is on. shown: by the filter; total: that are listed.

    in_all: that there are, where only the oldest are listed; None where all of them are.
    """

    position: int
    shown: int
    total: int
    order: Order
    filter_text: str
    in_all: int | None = None


def status(picture: Picture, at: Standing | None, look: Look) -> Line:
    """Make the line below the table: which rows these are, or what was said last."""
    if picture.note:
        return Line((Piece(f" {look.text(picture.note)}", "warn"),))
    if at is None or not at.total:
        return Line(())
    rows = f" {at.position} of {at.shown}"
    if at.shown != at.total:
        rows += f", {at.total} listed"
    pieces = [Piece(rows, "dim")]
    if at.in_all is not None and at.in_all > at.total:
        pieces.append(Piece(f"   the oldest of {at.in_all}", "warn"))
    if at.order.title or at.order.reverse:
        turned = ", reversed" if at.order.reverse else ""
        pieces.append(Piece(f"   by {at.order.title or 'the usual order'}{turned}", "dim"))
    if at.filter_text:
        pieces.append(Piece(f"   /{look.text(at.filter_text)}", "warn"))
    return Line(tuple(pieces))


def _fit(groups: Iterable[Group], width: int) -> tuple[Piece, ...]:
    """Keep as many groups, in their order, as fit; the space behind the last may be cut off."""
    kept: list[Piece] = []
    left = width
    for group in groups:
        cells = sum(cell_len(piece.text) for piece in group)
        space = len(group[-1].text) - len(group[-1].text.rstrip())
        if cells - space <= left:
            kept += group
            left -= cells
    return tuple(kept)
