"""What an operator sets for a pool, and the constants behind it that nobody has to know."""

from typing import Annotated, TypeAlias

import msgspec

Share: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1)]
Positive: TypeAlias = Annotated[float, msgspec.Meta(gt=0)]
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class Tuning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Constants of the policy, in the words of docs/adr/0014.

    margin: start-ups that a deadline leaves room for. ahead: spot nodes wanted for each node that
    is required. scarce: share of wanted spot that is usually held, at or below which all there is
    is taken. rho, usual_s: how much of the spot that usually is there counts as if it were, and
    over how long "usually" is. burst: share of most on-demand nodes that can be had at once, late.
    lower_at, hold_s: how far the need has to fall, and for how long, before on-demand nodes go.
    cool_reclaimed_s, cool_failed_s: for how long a zone is left alone. hurry: what these are
    divided by while fewer than two zones are active. launches_per_tick: the most in one decision.
    busy_at: share of a real-time node's capacity that is planned for. stale_s, widen: behind this
    age a price counts so many times more. jump_s: a gap between two snapshots that is no tick.
    unhurried_s: the window of a batch that has none. startup_s: until it is measured. worth: for
    how many start-ups a node has to have work, to be wanted.
    crashes: starts in a row that end in a crash, behind which one node at a time is tried. item_s:
    node-seconds that an item takes, until one was measured; None where nobody can say.
    """

    margin: Positive = 2.0
    ahead: Positive = 2.0
    scarce: Share = 0.8
    rho: Share = 0.8
    usual_s: Positive = 10_800.0
    burst: Share = 0.5
    lower_at: Share = 0.8
    hold_s: float = 600.0
    cool_reclaimed_s: float = 3600.0
    cool_failed_s: float = 900.0
    hurry: Positive = 4.0
    launches_per_tick: Annotated[int, msgspec.Meta(ge=1)] = 20
    busy_at: Share = 0.7
    stale_s: Positive = 21_600.0
    widen: Annotated[float, msgspec.Meta(ge=1)] = 1.25
    jump_s: Positive = 900.0
    unhurried_s: Positive = 86_400.0
    startup_s: Positive = 600.0
    worth: Positive = 1.0
    crashes: Annotated[int, msgspec.Meta(ge=1)] = 3
    item_s: Positive | None = None


class Knobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator decides about a pool; a batch's window is set with the batch.

    most_spot: spot nodes at a time. most_on_demand: on-demand nodes at a time that work for
    batches, beside those for real-time. baseline: on-demand nodes for real-time that are always
    kept; by load up to twice as many. budget_usd_per_h: for all nodes together, None for no limit;
    the baseline is kept all the same. price_ceiling: spot is launched below this share of the
    on-demand price.
    """

    most_spot: Number = 10
    most_on_demand: Number = 4
    baseline: Number = 0
    budget_usd_per_h: Positive | None = None
    price_ceiling: Share = 0.8
    tuning: Tuning = Tuning()
