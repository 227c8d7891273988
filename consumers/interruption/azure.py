"""Azure: scheduled events, which every machine of a scale set hears for all of them."""

import time
from collections.abc import Sequence
from typing import Final

from consumers.interruption.answers import Rubbish, Scheduled, azure_events, azure_machine
from consumers.interruption.source import Http, Look, Pace, Tell
from fleet.notice import Notice

_HEADERS: Final = {"Metadata": "true"}
_EVENTS: Final = "scheduledevents"


class Azure:
    """Looks for the events of this machine, and notices when one is called off."""

    name = "azure"

    def __init__(self, http: Http, base: str, pace: Pace) -> None:
        self._http = http
        self._base = f"{base}/metadata"
        self._pace = pace
        self._machine: str | None = None
        self._opted_in = False
        self._pending: dict[str, Notice] = {}

    async def recognise(self) -> bool:
        """Ask for the machine's name, which is needed to tell whose an event is."""
        url = f"{self._base}/instance/compute/name?api-version=2021-02-01&format=text"
        name = azure_machine(await self._http.get(url, _HEADERS, wait_s=self._pace.answer_s))
        self._machine = None if isinstance(name, Rubbish) else name
        return self._machine is not None

    def looks(self) -> Sequence[Look]:
        """Ask for events."""
        return (self._look,)

    async def _look(self, tell: Tell) -> None:
        # The first question turns the service on for this machine; its answer takes its time.
        wait_s = self._pace.answer_s if self._opted_in else self._pace.first_s
        url = f"{self._base}/{_EVENTS}?api-version=2020-07-01"
        answer = await self._http.get(url, _HEADERS, wait_s=wait_s)
        found = azure_events(answer, self._machine or "")
        if isinstance(found, Rubbish):
            tell(found, _EVENTS)
            return
        self._opted_in = True
        listed: dict[str, Notice] = {}
        for one in found:
            if isinstance(one, Scheduled):
                listed[one.id] = one.notice
            tell(one.notice if isinstance(one, Scheduled) else one, _EVENTS)
        if not found and self._is_early():
            tell(Notice(kind="withdrawn", source="azure", detail="the event is gone"), _EVENTS)
        # An event that cannot be read may be one that we know: it is not gone.
        self._pending = listed if len(listed) == len(found) else self._pending | listed

    def _is_early(self) -> bool:
        """Say whether something was to come, and the time of none of it has come."""
        now = time.monotonic()
        due = [notice.deadline for notice in self._pending.values()]
        return bool(due) and all(at is not None and at > now for at in due)
