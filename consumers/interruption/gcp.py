"""GCP: two values of the metadata server, which answers when they change."""

import re
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlencode

from consumers.interruption.answers import Answer, Reading, Rubbish, gcp_maintenance, gcp_preempted
from consumers.interruption.source import Http, Look, Pace, Tell
from fleet.notice import Notice

_HEADERS: Final = {"Metadata-Flavor": "Google"}
_ETAG: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Gcp:
    """Holds one request open for each value."""

    name = "gcp"

    def __init__(self, http: Http, base: str, pace: Pace) -> None:
        self._http = http
        self._base = f"{base}/computeMetadata/v1/instance"
        self._pace = pace
        self._etags: dict[str, str] = {}
        self._preempted = False
        self._announced = False

    async def recognise(self) -> bool:
        """Ask for a value that every instance has."""
        return not isinstance(gcp_preempted(await self._get("preempted")), Rubbish)

    def looks(self) -> Sequence[Look]:
        """Wait for each value by itself."""
        return (self._look_at_preempted, self._look_at_maintenance)

    async def _look_at_preempted(self, tell: Tell) -> None:
        reading = await self._changed("preempted", gcp_preempted)
        self._preempted = self._preempted or isinstance(reading, Notice)
        tell(reading, "preempted")

    async def _look_at_maintenance(self, tell: Tell) -> None:
        reading = await self._changed("maintenance-event", gcp_maintenance)
        if reading is None and self._announced and not self._preempted:
            reading = Notice(kind="withdrawn", source="gcp", detail="maintenance called off")
        if not isinstance(reading, Rubbish):
            self._announced = isinstance(reading, Notice) and reading.kind == "terminate"
        tell(reading, "maintenance-event")

    async def _changed(self, path: str, read: Callable[[Answer], Reading]) -> Reading:
        """Read a value: at once the first time, and when it has changed from then on."""
        query: dict[str, str | int] = {}
        if etag := self._etags.pop(path, None):
            query = {"wait_for_change": "true", "last_etag": etag, "timeout_sec": self._hold_s}
        answer = await self._get(path, query, wait_s=self._hold_s if query else 0.0)
        reading = read(answer)
        etag = answer.headers.get("etag", "")
        if not isinstance(reading, Rubbish) and _ETAG.fullmatch(etag):
            self._etags[path] = etag
        return reading

    async def _get(
        self, path: str, query: dict[str, str | int] | None = None, wait_s: float = 0.0
    ) -> Answer:
        url = f"{self._base}/{path}" + (f"?{urlencode(query)}" if query else "")
        return await self._http.get(url, _HEADERS, wait_s=wait_s + self._pace.answer_s)

    @property
    def _hold_s(self) -> int:
        return max(1, round(self._pace.hold_s))
