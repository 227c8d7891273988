"""What an operator may tell a running node, and what it answers. JSON on `control.<node>`."""

from typing import Annotated, Literal, TypeAlias

import msgspec

from fleet.errors import UsageError
from fleet.node import NodeState
from fleet.subjects import plain

# An order that says more is not one of ours.
MAX_BYTES = 4096
HOUR_S = 3600.0
OrderSource = Literal["command", "drill"]


class DrainOrder(msgspec.Struct, frozen=True, kw_only=True, tag_field="order", tag="drain"):
    """Stop pulling, and hand over or finish what runs.

    left_s: seconds until the node is to be gone; None leaves it its grace period. provider: the
    cloud that a drill plays, for people.
    """

    left_s: Annotated[float, msgspec.Meta(ge=0, le=HOUR_S)] | None = None
    source: OrderSource = "command"
    provider: Annotated[str, msgspec.Meta(max_length=63)] = ""


class ResumeOrder(msgspec.Struct, frozen=True, kw_only=True, tag_field="order", tag="resume"):
    """Take jobs again: the node stays after all."""

    source: OrderSource = "command"


class HurtOrder(msgspec.Struct, frozen=True, kw_only=True, tag_field="order", tag="hurt"):
    """Only in drills: die as by kill -9, or stand still for so many seconds."""

    how: Literal["kill", "freeze"]
    for_s: Annotated[float, msgspec.Meta(gt=0, le=600)] = 15.0
    source: Literal["drill"] = "drill"


class Heard(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="heard"):
    """An order was obeyed. The node's state after it.

    changed: False where the order was old news. left_s: seconds until the node ends, None where it
    does not. jobs, items: what is in hand.
    """

    node: str
    pid: int
    state: NodeState
    changed: bool
    jobs: int = 0
    items: int = 0
    left_s: float | None = None


class Declined(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="declined"):
    """An order was no order, or cannot be obeyed now."""

    node: str
    error: str


Order: TypeAlias = DrainOrder | ResumeOrder | HurtOrder
Reply: TypeAlias = Heard | Declined
_orders: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)


def read_order(payload: bytes) -> Order:
    """Decode an order. Raises UsageError: anybody may have sent it."""
    if len(payload) > MAX_BYTES:
        raise UsageError(f"the order has {len(payload)} bytes, over the limit of {MAX_BYTES}")
    try:
        return _orders.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UsageError(
            f'not an order ({plain(str(error))}): send {{"order": "drain"}} or '
            '{"order": "resume"}'
        ) from error
