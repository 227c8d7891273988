"""The campaign's report: faults times seeds, and how soon work went on. Pure."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import quantiles

from tests.fault.history import Entry
from tests.fault.play import Played
from tests.fault.scenarios import HANDOVER

HEAD = """\
# The proof

What `just soak` found the last time. Every scenario is played with seeds of its own on a real
broker and real consumer processes with the scripted engine, whose answers anybody can compute.
`tests/fault/checker.py` reads the history of each run and `fleet verify` the broker's records.
Play one again with `FLEET_SEED=<seed> just test-all tests/fault/test_campaign.py -k <fault>`.
"""
FAULTS = (
    "fault",
    "what is done",
    "seeds",
    "jobs",
    "items",
    "lost",
    "doubled",
    "wrong",
    "interruptions",
    "tokens again",
    "per interruption",
)
WAITED = """\
Time until work went on; the ack wait was 2.5 s, where the default is 10 s. In `handover` another
consumer has room. In all others the consumers are full most of the time, several fleets share the
machine, and a replacement has to start: those waits include waiting for room."""
WAITS = ("after", "cases", "p50 s", "p99 s", "longest s")


def report(played: Sequence[Played], *, where: str) -> str:
    """Write Markdown. where: the machine and the commit that it ran on."""
    violations = [
        f"- {one.scenario.name}, seed {one.seed}: {violation}"
        for one in played
        for violation in one.found.violations
    ]
    minutes = sum(one.seconds for one in played) / 60
    return "\n".join([
        HEAD,
        f"{where}. {len(played)} runs, {minutes:.0f} minutes of play.\n",
        *_table(FAULTS, _fault_rows(played)),
        "",
        WAITED,
        "",
        *_table(WAITS, _wait_rows(played)),
        "",
        "Violations:",
        "",
        *(violations or ["none"]),
        "",
    ])  # fmt: skip


def _fault_rows(played: Sequence[Played]) -> Iterator[tuple[object, ...]]:
    for scenario in dict.fromkeys(one.scenario for one in played):
        found = [one.found for one in played if one.scenario == scenario]
        interruptions = sum(one.interruptions for one in found)
        again = sum(one.again for one in found)
        yield (
            scenario.name,
            scenario.what,
            len(found),
            sum(one.jobs for one in found),
            sum(one.items for one in found),
            sum(one.lost for one in found),
            sum(one.doubled for one in found),
            sum(one.wrong for one in found),
            interruptions,
            again,
            f"{again / interruptions:.0f}" if interruptions else "-",
        )


def _wait_rows(played: Sequence[Played]) -> Iterator[tuple[object, ...]]:
    roomy = [one.history.entries for one in played if one.scenario == HANDOVER]
    # A node with a wrong clock tells wrong times.
    full = [
        one.history.entries
        for one in played
        if one.scenario != HANDOVER and one.scenario.name != "clock"
    ]
    kinds = (
        ("a notice, another has room (released until taken over)", roomy, after_release),
        ("kill -9, another has room (until taken over)", roomy, after_kill),
        ("a notice, in all others", full, after_release),
        ("kill -9, in all others", full, after_kill),
        ("the broker is back (until the next result)", full, after_outage),
    )
    for name, histories, waits_of in kinds:
        waits = sorted(wait for entries in histories for wait in waits_of(entries))
        if waits:
            yield (name, len(waits), *(f"{at:.2f}" for at in _points(waits)), f"{waits[-1]:.2f}")


def after_kill(entries: Sequence[Entry]) -> Iterator[float]:
    """Yield the seconds from each kill until the first of the victim's jobs went on."""
    for kill in (e for e in entries if e.op == "kill"):
        taken = [
            e.t - kill.t
            for e in entries
            if e.op == "taken_over" and e.outcome == kill.actor and e.t >= kill.t
        ]
        if taken:
            yield min(taken)


def after_release(entries: Sequence[Entry]) -> Iterator[float]:
    """Yield the seconds from each release until that job went on."""
    for release in (e for e in entries if e.op == "released"):
        taken = [
            e.t - release.t
            for e in entries
            if e.op == "taken_over" and e.job == release.job and e.t >= release.t
        ]
        if taken:
            yield min(taken)


def after_outage(entries: Sequence[Entry]) -> Iterator[float]:
    """Yield the seconds from each return of the broker until the next result was stored."""
    back = [e.t for e in entries if e.op == "outage"]
    for at, end in pairwise([*back, float("inf")]):
        lines = [e.t - at for e in entries if e.op == "line" and at <= e.t < end]
        if lines:
            yield min(lines)


def _points(waits: Sequence[float]) -> tuple[float, float]:
    if len(waits) == 1:
        return waits[0], waits[0]
    cuts = quantiles(waits, n=100, method="inclusive")
    return cuts[49], cuts[98]


def _table(head: Sequence[str], rows: Iterator[tuple[object, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"
