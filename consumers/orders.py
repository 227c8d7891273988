"""An operator's order as a notice."""

from fleet.control import DrainOrder, HurtOrder, Order, ResumeOrder
from fleet.notice import Notice


def notice_of(order: Order, now: float) -> Notice | None:
    """Say what an order that came at `now`, by time.monotonic(), means to the drain, if anything.

    Who is hurt in a drill hears nothing of it before.
    """
    match order:
        case DrainOrder(left_s=left_s, source=source, provider=provider):
            deadline = None if left_s is None else now + left_s
            return Notice(kind="terminate", source=source, deadline=deadline, detail=provider)
        case ResumeOrder(source=source):
            return Notice(kind="withdrawn", source=source)
        case HurtOrder():
            return None
