"""The view of what happened. Pure."""

from typing import Final

from dashboard import units
from dashboard.event_rows import EventRow
from dashboard.look import Look
from dashboard.table import Cell, Column, Table, Tone
from dashboard.views.cells import number, word

_TONES: Final[dict[str, Tone]] = {"info": "plain", "warning": "warn", "bad": "bad"}
_SIGNS: Final = {"info": "bullet", "warning": "alarm", "bad": "lost"}


def table(look: Look) -> Table[EventRow]:
    """Make the table of events, newest first."""
    return Table(
        name="events",
        columns=(
            Column(title="UTC", width=8, cell=lambda row: Cell(units.clock(row.at), "dim"),
                   sort=lambda row: row.at, falls=True),
            number("ago", 6, lambda row: row.age_s, units.age, priority=3, falls=False),
            Column(title="what", width=16, priority=1, cell=lambda row: _kind(row, look),
                   sort=lambda row: row.kind),
            word("who", 13, lambda row: row.node, look, priority=2, grows=1),
            Column(title="how", width=36, grows=6,
                   cell=lambda row: Cell(look.text(row.text), _TONES[row.grade]),
                   sort=lambda row: row.text),
        ),
        key=lambda row: row.key,
        words=lambda row: f"{row.kind} {row.node} {row.grade} {row.text}",
        empty="Nothing happened yet, as far as EVENTS tell.",
    )  # fmt: skip


def _kind(row: EventRow, look: Look) -> Cell:
    words = row.kind.replace("_", " ")
    return Cell(f"{look.glyph(_SIGNS[row.grade])} {look.text(words)}", _TONES[row.grade])
