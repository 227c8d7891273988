"""Recording that a batch is over, so that a list of batches needs no look into their results."""

import logging
from typing import Final, Literal, TypeAlias

import msgspec

from fleet.broker.kv import Bucket
from fleet.errors import BrokerRefused, BrokerUnreachable, CorruptRecord, LeaseLost
from fleet.manifest import BatchState, Manifest

End: TypeAlias = Literal["completed", "cancelled"]
# Which state each end follows.
_AFTER: Final[dict[End, BatchState]] = {"completed": "submitted", "cancelled": "cancelling"}
log = logging.getLogger(__name__)


async def note_end(bucket: Bucket[Manifest], key: str, end: End) -> None:
    """Record the end of a batch that was seen; it is for show, so a refusal changes nothing."""
    try:
        entry = await bucket.get(key)
        if entry is not None and entry.value.state == _AFTER[end]:
            over = msgspec.structs.replace(entry.value, state=end)
            await bucket.put(key, over, revision=entry.revision)
    except (LeaseLost, CorruptRecord, BrokerRefused, BrokerUnreachable) as error:
        # Who may only read, reads on; and whoever has the batch may write what they like.
        log.info("the end of a batch was not recorded", extra={"batch": key, "error": str(error)})
