"""Listen to the cloud that this node runs on, whichever it is, for as long as the process lives."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Never

from consumers.interruption.answers import Reading, Rubbish, Stale
from consumers.interruption.aws import Aws
from consumers.interruption.azure import Azure
from consumers.interruption.gcp import Gcp
from consumers.interruption.places import Places, places
from consumers.interruption.source import Busy, Http, Look, Pace, Source, Unreachable
from fleet.notice import Notice
from fleet.settings import Cloud

log = logging.getLogger(__name__)
# A notice is repeated with every look, and times are told in whole seconds.
SOONER_S = 1.5
PACE = Pace()


async def follow(
    hear: Callable[[Notice], object], *, cloud: Cloud, env: Mapping[str, str], pace: Pace = PACE
) -> Never:
    """Call `hear` with every notice of the cloud; never returns.

    cloud: `auto` asks all until one answers, and then that one; `none` asks nobody. env: the
    variables that say where the services are, see places.py. That nobody answers is a normal state.
    What a service may do or say ends nothing here. Raises UsageError for an address that is none.
    """
    asked = places(cloud, env)
    if asked.aws or asked.gcp or asked.azure:
        # aiohttp is loaded where somebody is asked.
        from consumers.interruption.http import open_http

        async with open_http() as http:
            await _listen(_sources(asked, http, pace), hear, pace)
    while True:
        await asyncio.Event().wait()


async def _listen(sources: Sequence[Source], hear: Callable[[Notice], object], pace: Pace) -> None:
    ear = Ear(hear)
    source = await _recognise(sources, ear, pace)
    log.info("a metadata service answers", extra={"cloud": source.name})
    async with asyncio.TaskGroup() as group:
        for look in source.looks():
            group.create_task(_look_for_ever(look, ear, pace))


class Ear:
    """Passes on what is new, and says what is odd once."""

    def __init__(self, hear: Callable[[Notice], object]) -> None:
        self._hear = hear
        self._heard: dict[tuple[str, str], float | None] = {}
        self._said: set[tuple[str, str]] = set()

    def tell(self, reading: Reading, path: str) -> None:
        """Take what an answer at `path` means."""
        match reading:
            case Notice():
                if self._is_news(reading):
                    self._hear(reading)
            case Rubbish(text=text):
                self.say(logging.WARNING, "a metadata answer makes no sense", path, text)
            case Stale(text=text):
                self.say(logging.WARNING, "a notice is too old to be meant", path, text)
            case None:
                pass

    def say(self, level: int, what: str, where: str, text: str) -> None:
        """Log something about a place, once."""
        if (what, where) not in self._said:
            self._said.add((what, where))
            log.log(level, what, extra={"place": where, "cause": text})

    def _is_news(self, notice: Notice) -> bool:
        if notice.kind == "withdrawn":
            self._heard.clear()
            return True
        key = (notice.kind, notice.source)
        new, known = notice.deadline, self._heard.get(key)
        if key in self._heard and (new is None or known is None or new > known - SOONER_S):
            return False
        self._heard[key] = new
        return True


async def _recognise(sources: Sequence[Source], ear: Ear, pace: Pace) -> Source:
    """Ask all of them, again and again, until one is what it should be."""
    pauses = _pauses(pace.retry_s, pace.silent_s)
    while True:
        async with asyncio.TaskGroup() as group:
            asked = [(one, group.create_task(_recognises(one, ear))) for one in sources]
        for source, answer in asked:
            if answer.result():
                return source
        await asyncio.sleep(next(pauses))


async def _recognises(source: Source, ear: Ear) -> bool:
    try:
        return await source.recognise()
    except (Busy, Unreachable) as error:
        ear.say(logging.INFO, "no metadata service, so no early notice", source.name, str(error))
        return False


async def _look_for_ever(look: Look, ear: Ear, pace: Pace) -> Never:
    silent, busy = _pauses(pace.retry_s, pace.silent_s), _pauses(pace.retry_s, pace.busy_s)
    while True:
        began = time.monotonic()
        try:
            await look(ear.tell)
        except Unreachable as error:
            ear.say(logging.INFO, "the metadata service is silent", "", str(error))
            await asyncio.sleep(next(silent))
        except Busy as error:
            ear.say(logging.INFO, "the metadata service is busy", "", str(error))
            await asyncio.sleep(next(busy))
        else:
            silent, busy = _pauses(pace.retry_s, pace.silent_s), _pauses(pace.retry_s, pace.busy_s)
            await asyncio.sleep(max(0.0, _jittered(pace.poll_s) - (time.monotonic() - began)))


def _sources(asked: Places, http: Http, pace: Pace) -> list[Source]:
    sources: list[Source] = []
    if asked.aws:
        sources.append(Aws(http, asked.aws, pace))
    if asked.gcp:
        sources.append(Gcp(http, asked.gcp, pace))
    if asked.azure:
        sources.append(Azure(http, asked.azure, pace))
    return sources


def _pauses(first_s: float, most_s: float) -> Iterator[float]:
    """Double from `first_s` up to `most_s`, so that a fleet does not ask in step."""
    pause_s = first_s
    while True:
        yield _jittered(min(pause_s, most_s))
        pause_s = min(pause_s * 2, most_s)


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.0)
