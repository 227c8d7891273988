"""Target numbers for KEDA: in Kubernetes we say how many, and others start pods and nodes.

KEDA's `metrics-api` trigger asks for one number at a time (`valueLocation`), and sets a Deployment
to it; Karpenter brings the nodes. So nothing is launched here. What matters is never to say a wrong
number: one that is old or was never known is an error, at which KEDA keeps what it has (as long as
no `fallback` is given), while a nought would end every pod.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

from fleet.errors import UsageError

# Some ticks of the manager; KEDA asks every 30 s by default.
STALE_S: Final = 90.0
PATH: Final = "/targets/"
_STOP_S: Final = 1.0


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """How many pods of each Deployment one model's pool should have.

    spot: batch and background on spot nodes. fallback: batch on on-demand nodes, in place of spot.
    realtime: on on-demand nodes.
    """

    spot: int
    fallback: int
    realtime: int

    def __post_init__(self) -> None:
        if min(self.spot, self.fallback, self.realtime) < 0:
            raise UsageError(f"{self} asks for fewer pods than none: give numbers from 0")


class Board:
    """What is published now. clock: seconds that never go back."""

    def __init__(
        self, *, stale_s: float = STALE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stale_s = stale_s
        self._clock = clock
        self._published: dict[str, tuple[float, Targets]] = {}

    def publish(self, model: str, targets: Targets) -> None:
        """Say what is wanted for a model; it has to be said again before it is stale."""
        self._published[model] = (self._clock(), targets)

    def withdraw(self) -> None:
        """Say nothing more, as one does who no longer leads."""
        self._published.clear()

    def read(self, model: str) -> Targets | str:
        """Return what is wanted, or why nobody knows."""
        if model not in self._published:
            return f"no targets for {model}: the pool manager has decided nothing yet, or stands by"
        at, targets = self._published[model]
        if (age_s := self._clock() - at) > self._stale_s:
            return f"the targets for {model} are {age_s:.0f} s old: is the pool manager stuck?"
        return targets

    def unready(self) -> str | None:
        """Say why no request should come here; None when all numbers are good."""
        if not self._published:
            return "nothing is published: another manager leads, or none has decided yet"
        troubles = [
            trouble for model in self._published if isinstance(trouble := self.read(model), str)
        ]
        return troubles[0] if troubles else None


@asynccontextmanager
async def serving(board: Board, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Answer KEDA while the body runs; yields the URL.

    Whoever may reach it may read the numbers and nothing else. host: loopback unless it is said
    otherwise; in a cluster `0.0.0.0`, behind a NetworkPolicy that lets KEDA in. port: 0 takes a
    free one. Raises UsageError when the address cannot be had.
    """
    runner = web.AppRunner(_app(board), access_log=None, shutdown_timeout=_STOP_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"cannot listen on {host}:{port} for KEDA ({error}): give a free port"
            ) from error
        bound = runner.addresses[0]
        yield f"http://{bound[0]}:{bound[1]}"
    finally:
        await runner.cleanup()


def _app(board: Board) -> web.Application:
    async def targets(request: web.Request) -> web.Response:
        found = board.read(request.match_info["model"])
        if isinstance(found, str):
            return _sorry(found)
        return web.Response(body=msgspec.json.encode(found), content_type="application/json")

    async def ready(_: web.Request) -> web.Response:
        trouble = board.unready()
        return web.Response(text="ok\n") if trouble is None else _sorry(trouble)

    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    app = web.Application(client_max_size=1024)
    app.router.add_get(PATH + "{model}", targets)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/livez", alive)
    return app


def _sorry(why: str) -> web.Response:
    return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=f"{why}\n")
