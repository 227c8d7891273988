"""Word that a node is about to go, from whoever it came."""

from typing import Literal

import msgspec

# terminate: the node goes. rebalance: it may go soon, so it takes no long work. withdrawn: it stays
# after all.
NoticeKind = Literal["terminate", "rebalance", "withdrawn"]
NoticeSource = Literal["aws", "asg", "gcp", "azure", "signal", "command", "drill"]


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One notice.

    deadline: when the node is expected to vanish, on the clock of time.monotonic() of the process
    that heard it; None where nobody said. detail: what the source said, for people; foreign text.
    """

    kind: NoticeKind
    source: NoticeSource
    deadline: float | None = None
    detail: str = ""
