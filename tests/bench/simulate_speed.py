"""How long a simulated month of a large fleet takes: 10,000 nodes at most, a million jobs.

A made-up market of nine zones, batches some twenty minutes apart, the policy of production; for
comparison the other policies in the same world. Seconds of the processor, for they do not depend on
what else runs.
"""

import time
from collections.abc import Sequence

from fleet.pool.knobs import Knobs, Tuning
from fleet.pool.simulate.arrivals import arrivals
from fleet.pool.simulate.generator import generate
from fleet.pool.simulate.market import scaled
from fleet.pool.simulate.outcome import outcome
from fleet.pool.simulate.rivals import policies
from fleet.pool.simulate.world import Rules, World
from tests.bench.report import Figure, Options, at_most

MOST = 10_000
LOAD = 3500.0
JOBS = 1_000_000
DAY_S = 86_400.0


async def measure(options: Options) -> Sequence[Figure]:
    """Live through a month with each policy."""
    days = 3 if options.quick else 30
    began = time.process_time()
    market = scaled(generate("v100", horizon_s=days * DAY_S, seed=1), 2 * MOST // 36)
    work = arrivals(
        horizon_s=market.horizon_s, mean_nodes=LOAD, window_s=DAY_S, every_s=1200.0, seed=1
    )
    job_s = sum(batch.work_s for batch in work) / (JOBS * days / 30)
    knobs = Knobs(most_spot=MOST, most_on_demand=MOST, tuning=Tuning(launches_per_tick=MOST // 10))
    spent = {"building": time.process_time() - began}
    figures: list[Figure] = []
    for name, make in policies(knobs, mean_nodes=LOAD).items():
        began = time.process_time()
        world = World(market, work, make(), Rules(item_s=job_s))
        world.run()
        made = outcome(world)
        spent[name] = time.process_time() - began
        most = max(point.spot + point.on_demand for point in world.points)
        note = f"{made.batches} batches, {made.starts} starts, {most} nodes at most"
        figure = Figure(name=name, value=round(spent[name], 1), unit="s", note=note)
        figures.append(at_most(120, figure) if name == "overbook" else figure)
    return (*figures, Figure(name="all", value=round(sum(spent.values()), 1), unit="s"))
