"""What a consumer says of itself when it is asked for numbers."""

import msgspec

from fleet.node import Node


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer at this moment. Seconds; the totals are since its start.

    pull_silent_s: since it asked for jobs and heard nothing at all, 0 where it heard or does not
    ask. unsaved_s: since work in hand was last saved, 0 without any.
    """

    node: Node
    instance_type: str
    connected: bool
    pull_silent_s: float
    engine_silent_s: float
    unsaved_s: float
    busy_s: float
    stall_s: float
    events_dropped: int
