"""The door to aiohttp: small requests to a service that may be silent, busy or somebody else's."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from consumers.interruption.answers import Answer
from consumers.interruption.source import Busy, Unreachable

MOST_BYTES: Final = 64 * 1024
_BUSY: Final = frozenset({429, *range(500, 600)})


class Client:
    """Asks. Every method raises Unreachable and Busy; whatever else comes back is an Answer."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, url: str, headers: Mapping[str, str], *, wait_s: float) -> Answer:
        """Ask for `url`, at most `wait_s` seconds long."""
        return await self._ask("GET", url, headers, wait_s)

    async def put(self, url: str, headers: Mapping[str, str], *, wait_s: float) -> Answer:
        """Put nothing to `url`."""
        return await self._ask("PUT", url, headers, wait_s)

    async def _ask(self, verb: str, url: str, headers: Mapping[str, str], wait_s: float) -> Answer:
        try:
            async with (
                asyncio.timeout(wait_s),
                # A redirect would take the token elsewhere.
                self._session.request(verb, url, headers=headers, allow_redirects=False) as reply,
            ):
                at = time.monotonic()
                body = await _read(reply.content)
                answer = Answer(
                    status=reply.status,
                    body=body[:MOST_BYTES],
                    headers={name.lower(): value for name, value in reply.headers.items()},
                    at=at,
                    cut=len(body) > MOST_BYTES,
                )
        except TimeoutError as error:
            raise Unreachable(f"no answer from {url} within {wait_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(f"no answer from {url}: {error}") from error
        if answer.status in _BUSY:
            raise Busy(f"{url} answers with status {answer.status}")
        return answer


@asynccontextmanager
async def open_http() -> AsyncIterator[Client]:
    """Open a client for metadata services: no proxies, no cookies, no unpacking of bodies."""
    async with aiohttp.ClientSession(
        trust_env=False,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        connector=aiohttp.TCPConnector(limit=4),
    ) as session:
        yield Client(session)


async def _read(content: aiohttp.StreamReader) -> bytes:
    """Read a body, but not much further than MOST_BYTES."""
    chunks: list[bytes] = []
    size = 0
    while size <= MOST_BYTES and (chunk := await content.read(MOST_BYTES)):
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)
