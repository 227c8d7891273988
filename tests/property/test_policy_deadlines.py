"""Played out: spot comes and goes as it likes, and on-demand meets every deadline that it can."""

from random import Random

import hypothesis.strategies as st
from hypothesis import given, settings

from fleet.job import CapacityType
from fleet.pool.decision import Decision, Memory
from fleet.pool.knobs import Knobs, Tuning
from fleet.pool.policy import decide
from fleet.pool.snapshot import Count, Happening, LaunchFailed, Reclaimed, Snapshot, Work, Zone

HOUR, TICK = 3600, 120
STARTUP = 600
HORIZON = 14 * HOUR
KNOBS = Knobs(most_spot=30, most_on_demand=16, tuning=Tuning(launches_per_tick=1000))
ZONES = ("a", "b", "c")


class World:
    """A pool in seconds. spot, on_demand: when each node is ready, by zone, or of all.

    left: node-seconds of each batch that are still to do. missed: whose deadline went by before.
    """

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.moods = {zone: self.dice.choice((0.0, 0.02, 0.2)) for zone in ZONES}
        self.room = {zone: self.dice.randrange(12) for zone in ZONES}
        self.batches = _batches(self.dice)
        self.left = {name: size for name, _, _, size in self.batches}
        self.spot: dict[str, list[float]] = {zone: [] for zone in ZONES}
        self.on_demand: list[float] = []
        self.missed: list[str] = []

    def play(self) -> None:
        memory, happened = Memory(), list[Happening]()
        for now in range(0, HORIZON, TICK):
            happened += self._weather(now)
            seen = Snapshot(
                now=now, work=self._work(now), zones=self._zones(now), startup_s=STARTUP,
                happened=tuple(happened),
            )  # fmt: skip
            decision = decide(seen, KNOBS, memory)
            memory = decision.memory
            happened = self._carry_out(decision, now)
            self._run(now)

    def _weather(self, now: float) -> list[Happening]:
        """Change what spot there is, and take what is too much."""
        found: list[Happening] = []
        for zone in ZONES:
            if self.dice.random() < self.moods[zone]:
                self.room[zone] = self.dice.choice((0, 0, 3, 12))
            over = len(self.spot[zone]) - self.room[zone]
            if over > 0:
                del self.spot[zone][:over]
                found.append(Reclaimed(zone=zone, at=now, count=over))
        return found

    def _work(self, now: float) -> tuple[Work, ...]:
        # Whole node-seconds, rounded up: what is nearly done is not done.
        return tuple(
            Work(name=name, items=-int(-self.left[name] // 1), item_s=1.0, deadline=deadline)
            for name, arrival, deadline, _ in self.batches
            if arrival <= now < deadline and self.left[name] > 0
        )

    def _zones(self, now: float) -> tuple[Zone, ...]:
        def split(ready_at: list[float]) -> Count:
            ready = sum(at <= now for at in ready_at)
            return Count(ready=ready, starting=len(ready_at) - ready)

        return tuple(
            Zone(name=zone, spot=split(self.spot[zone]), spot_usd=0.4, on_demand_usd=1.0,
                 on_demand=split(self.on_demand) if zone == "a" else Count())
            for zone in ZONES
        )  # fmt: skip

    def _carry_out(self, decision: Decision, now: float) -> list[Happening]:
        for back in decision.releases:
            nodes = self._nodes(back.capacity_type, back.zone)
            nodes.sort()
            del nodes[len(nodes) - back.count :]
        failed: list[Happening] = []
        for launch in decision.launches:
            nodes = self._nodes(launch.capacity_type, launch.zone)
            had = launch.count
            if launch.capacity_type == "spot":
                had = min(had, self.room[launch.zone] - len(nodes))
            nodes += [now + STARTUP] * had
            if had < launch.count:
                failed.append(LaunchFailed(zone=launch.zone, at=now, capacity_type="spot"))
        return failed

    def _nodes(self, kind: CapacityType, zone: str) -> list[float]:
        return self.spot[zone] if kind == "spot" else self.on_demand

    def _run(self, now: float) -> None:
        """Serve the batches for a tick, the earliest deadline first."""
        nodes = [*self.on_demand, *(at for zone in ZONES for at in self.spot[zone])]
        capacity = float(TICK * sum(at <= now for at in nodes))
        for name, arrival, deadline, _ in sorted(self.batches, key=lambda one: one[2]):
            if arrival <= now:
                done = min(self.left[name], capacity)
                self.left[name] -= done
                capacity -= done
                if self.left[name] > 0 and now + TICK >= deadline and name not in self.missed:
                    self.missed.append(name)


def _batches(dice: Random) -> list[tuple[str, float, float, float]]:
    """Make up batches that a burst of half the on-demand nodes could finish.

    Each is a name, an arrival, a deadline, and node-seconds of work.
    """
    made: list[tuple[str, float, float, float]] = []
    for number in range(dice.randint(1, 6)):
        arrival = float(TICK * dice.randrange(5 * HOUR // TICK))
        deadline = arrival + dice.uniform(1, 8) * HOUR
        room_s = _room(made, arrival, deadline)
        if room_s > 0:
            made.append((f"t.{number}", arrival, deadline, dice.uniform(0.1, 1) * room_s))
    return made


def _room(made: list[tuple[str, float, float, float]], arrival: float, deadline: float) -> float:
    """Return what may still come between two moments, whichever of the others overlap with it."""
    burst = KNOBS.tuning.burst * KNOBS.most_on_demand
    margin_s = KNOBS.tuning.margin * STARTUP
    room_s = float("inf")
    for since in {arrival, *(one[1] for one in made if one[1] <= arrival)}:
        for until in {deadline, *(one[2] for one in made if one[2] >= deadline)}:
            inside = sum(size for _, a, d, size in made if a >= since and d <= until)
            room_s = min(room_s, burst * (until - since - margin_s) - inside)
    return room_s


@given(seed=st.integers(0, 2**32))
@settings(max_examples=12, deadline=None)
def test_no_deadline_is_missed_that_half_the_on_demand_nodes_could_meet(seed: int) -> None:
    world = World(seed)
    world.play()
    assert not world.missed
    assert not any(world.left.values())
    assert not world.on_demand, "when all is done nothing is paid for"
    assert not any(world.spot.values())
