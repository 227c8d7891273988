"""What becomes of a job whose requests lie elsewhere, while its node may have to go."""

import asyncio
import time

from consumers.filler import Filler
from fleet.broker.delivery import Delivery
from tests.fakes import FakeCancelled
from tests.hands import BOUND_S, Cemetery, Said
from tests.unit.test_inputs import Shelf, inputs_of, job_of, names, shelf_of


class Slow(Shelf):
    """Never answers. asked: set when it should."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def get(self, key: str, *, limit_bytes: int, sha256: str | None = None) -> bytes:
        self.asked.set()
        return await asyncio.Future()


class Desk:
    """A filler with one job in hand. gone: set when nothing new is to be begun."""

    def __init__(self, shelf: Shelf) -> None:
        self.gone, self.said = asyncio.Event(), Said()
        self.delivery = Delivery(
            sender=self.said, subject="jobs.batch.m.acme", headers={}, payload=b"",
            malformed=False, headers_bytes=0, stream="JOBS_BATCH", sequence=1, number=1,
            published_at=time.time(), pending=0, reply="r",
        )  # fmt: skip
        self.filler = Filler(
            inputs_of(shelf), refuser=Cemetery(), is_cancelled=FakeCancelled(),
            realtime_deadline_s=300.0, stopped=self._stopped,
        )  # fmt: skip

    async def fill(self) -> list[str | None] | None:
        async with asyncio.timeout(BOUND_S):
            filled = await self.filler.fill(self.delivery, job_of(count=2), None)
        return None if filled is None else names(filled)

    async def _stopped(self) -> None:
        await self.gone.wait()


async def test_a_job_whose_file_is_there_gets_its_items() -> None:
    desk = Desk(shelf_of())
    assert await desk.fill() == ["row-0", "row-1"]
    assert desk.said.words == []


async def test_a_node_that_has_to_go_waits_for_no_file_and_hands_the_job_over_at_once() -> None:
    shelf = Slow()
    desk = Desk(shelf)
    async with asyncio.TaskGroup() as group:
        filling = group.create_task(desk.fill())
        await shelf.asked.wait()
        desk.gone.set()
    assert filling.result() is None
    assert desk.said.words == [b"-NAK"]
