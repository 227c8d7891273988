"""The headers of a job that is published once more: what commands a stream stays behind. Pure."""

import re
from collections.abc import Mapping
from typing import Final

from fleet.wire import BATCH, DEADLINE, JOB_ID, MSG_ID, deadline_text

# Where a job comes from that was taken out of the dead letters: `<batch or _>.<job>`.
REQUEUED_FROM: Final = "Fleet-Requeued-From"
_OWN: Final = frozenset(name.lower() for name in (JOB_ID, BATCH, DEADLINE, REQUEUED_FROM))
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")


def renewed(
    headers: Mapping[str, str],
    *,
    job: str,
    msg_id: str,
    batch: str | None,
    deadline: float | None,
    requeued_from: str | None = None,
) -> dict[str, str]:
    """Carry foreign headers over and write ours anew.

    msg_id: what makes a second publish of the same a duplicate. deadline: seconds since the epoch.
    """
    kept = {
        name: value
        for name, value in headers.items()
        if _NAME.fullmatch(name)
        and value.isprintable()
        and not name.lower().startswith("nats-")
        and name.lower() not in _OWN
    }
    kept |= {JOB_ID: job, MSG_ID: msg_id}
    if batch is not None:
        kept[BATCH] = batch
    if deadline is not None:
        kept[DEADLINE] = deadline_text(deadline)
    if requeued_from is not None:
        kept[REQUEUED_FROM] = requeued_from
    return kept
