"""A durable that is not there: said now and then, not once for each request that fails."""

import logging
import time
from typing import Final

# It is away for some seconds while its server restarts or elects a leader; one that an operator
# deleted is away until it is made again. So often we say so.
TELL_S: Final = 10.0
log = logging.getLogger(__name__)


class Absence:
    """Whether a durable is missing, as far as we know. name: for the log."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._told_at: float | None = None

    def __bool__(self) -> bool:
        return self._told_at is not None

    def begin(self) -> None:
        """A request found no durable."""
        now = time.monotonic()
        if self._told_at is None or now - self._told_at >= TELL_S:
            self._told_at = now
            log.warning(
                "a durable is missing: run `fleet init`; we go on as soon as it is there",
                extra={"durable": self._name},
            )

    def end(self) -> None:
        """The durable spoke."""
        if self._told_at is not None:
            self._told_at = None
            log.warning("the durable is there again", extra={"durable": self._name})
