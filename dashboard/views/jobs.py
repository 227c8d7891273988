"""The view of batches and of jobs without an end. Pure."""

from typing import Final

from dashboard import units
from dashboard.job_rows import BatchRow, JobRow
from dashboard.look import Look
from dashboard.table import Cell, Column, Table, Tone
from dashboard.views.cells import above_zero, number, share, word

_JOB_TONES: Final[dict[str, Tone]] = {"waiting": "dim", "held": "ok", "between": "warn"}
_TROUBLE_TONES: Final[dict[str, Tone]] = {
    "stuck": "bad", "suspect": "bad", "late": "bad", "failing": "warn",
}  # fmt: skip
# The share of its deadline that is left when a batch turns yellow: an hour, in seconds.
_SOON_S: Final = 3600.0


def job_table(look: Look) -> Table[JobRow]:
    """Make the table of jobs."""
    return Table(
        name="jobs",
        columns=(
            word("job", 16, lambda row: row.job, look, grows=3),
            Column(title="state", width=10, cell=lambda row: _job_state(row, look),
                   sort=lambda row: row.trouble or row.state),
            word("node", 13, lambda row: row.node, look, priority=3, grows=1),
            share("progress", 11, lambda row: row.progress, look, priority=2),
            number("saved", 6, lambda row: row.checkpoint_age_s, units.age, priority=1,
                   tone=lambda row: "bad" if row.trouble == "stuck" else "plain"),
            number("age", 6, lambda row: row.age_s, units.age, priority=4),
            number("fails", 5, lambda row: row.attempts, units.count, priority=5,
                   tone=above_zero(lambda row: row.attempts, "warn")),
            number("intr", 4, lambda row: row.interruptions, units.count, priority=6,
                   tone=above_zero(lambda row: row.interruptions, "plain")),
            word("tenant", 10, lambda row: row.tenant, look, priority=7),
            number("left", 6, lambda row: row.expires_in_s, _left, priority=8, falls=False,
                   tone=lambda row: _left_tone(row.expires_in_s)),
            word("batch", 12, lambda row: row.batch, look, priority=9, grows=1),
            word("tier", 10, lambda row: row.tier, look, priority=10),
            word("model", 9, lambda row: row.model, look, priority=11),
            number("items", 5, lambda row: row.items, units.count, priority=12),
            word("error", 16, lambda row: row.error, look, priority=13, grows=4, tone="bad"),
        ),
        key=lambda row: row.key,
        words=lambda row: (
            f"{row.job} {row.tenant} {row.trouble or row.state} {row.node or ''} "
            f"{row.batch or ''} {row.tier} {row.model} {row.error}"
        ),
        empty="No job waits and none runs.",
    )  # fmt: skip


def batch_table(look: Look) -> Table[BatchRow]:
    """Make the table of batches."""
    return Table(
        name="batches",
        columns=(
            word("batch", 16, lambda row: row.batch, look, grows=2),
            Column(title="state", width=10, cell=lambda row: _batch_state(row, look),
                   sort=lambda row: row.state),
            share("progress", 11, lambda row: row.progress, look),
            number("failed", 6, lambda row: row.failed, units.count, priority=4,
                   tone=above_zero(lambda row: row.failed, "warn")),
            number("items/s", 11, lambda row: row.items_per_s, units.rate, priority=5, rate=True),
            number("done in", 7, lambda row: row.eta_s, units.age, priority=2, falls=False),
            number("left", 6, lambda row: row.expires_in_s, _left, priority=1, falls=False,
                   tone=lambda row: _left_tone(row.expires_in_s)),
            word("tenant", 10, lambda row: row.tenant, look, priority=6),
            number("items", 6, lambda row: row.items, units.count, priority=7),
            word("model", 9, lambda row: row.model, look, priority=8),
            word("tier", 10, lambda row: row.tier, look, priority=9),
            number("age", 6, lambda row: row.age_s, units.age, priority=10),
            word("at risk", 16, lambda row: row.at_risk, look, priority=11, grows=4, tone="warn"),
        ),
        key=lambda row: row.key,
        words=lambda row: (
            f"{row.batch} {row.tenant} {row.state} {row.tier} {row.model} {row.at_risk}"
        ),
        empty="No batch is known.",
    )  # fmt: skip


def _job_state(row: JobRow, look: Look) -> Cell:
    if row.trouble:
        sign = look.glyph("stuck" if row.trouble == "stuck" else "alarm")
        return Cell(f"{sign} {row.trouble}", _TROUBLE_TONES[row.trouble])
    sign = look.glyph("live" if row.state == "held" else "bullet")
    return Cell(f"{sign} {row.state}", _JOB_TONES[row.state])


def _batch_state(row: BatchRow, look: Look) -> Cell:
    if row.is_late:
        return Cell(f"{look.glyph('alarm')} late", "bad")
    words = {"submitting": "sending", "submitted": "open"}.get(row.state, row.state)
    tone: Tone = "ok" if words in {"open", "sending"} else "dim"
    return Cell(words, tone)


def _left(seconds: float | None) -> str:
    return "past" if seconds is not None and seconds <= 0 else units.age(seconds)


def _left_tone(seconds: float | None) -> Tone:
    if seconds is None or seconds > _SOON_S:
        return "plain"
    return "bad" if seconds <= 0 else "warn"
