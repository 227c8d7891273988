"""A stand-in for the metadata services of three clouds, with the faults that they are known for."""

import asyncio
import re
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

from aiohttp import web

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"
BOUND_S = 30.0
ACTION = "spot/instance-action"
REBALANCE = "events/recommendations/rebalance"
ASG = "autoscaling/target-lifecycle-state"
PUT, EVENTS, NAME = "PUT token", "scheduledevents", "name"
PREEMPTED, MAINTENANCE = "preempted", "maintenance-event"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Stub:
    """Plays the clouds in `plays`. All knobs may be turned while it runs.

    ahead_s: how far its clock is ahead of ours. status: answered to everything, if set. hangs:
    names of requests that get no answer, `*` for all. raw: bodies that are sent as they are.
    AWS: action, left_s, slides (the time moves on with every look, as AWS's own mock has it).
    Azure: resources lists whom an event is for; machine is the own name.
    """

    def __init__(self, *plays: str) -> None:
        self.plays = plays
        self.url = ""
        self.ahead_s = 0.0
        self.status: int | None = None
        self.hangs: set[str] = set()
        self.raw: dict[str, bytes] = {}
        self.redirects = False
        self.says_date = True
        self.action: str | None = None
        self.action_time: object = None
        self.left_s = 120.0
        self.slides = False
        self.refuses_tokens = False
        self.rebalance: str | None = None
        self.lifecycle: str | None = "InService"
        self.values = {PREEMPTED: "FALSE", MAINTENANCE: "NONE"}
        self.waits_for_change = True
        self.machine = "scale-set_7"
        self.events: list[dict[str, Any]] = []
        self.asked: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.headers: dict[str, Mapping[str, str]] = {}
        self._tokens: dict[str, float] = {}
        self._changed = asyncio.Condition()
        self.over = asyncio.Event()

    async def touch(self) -> None:
        """Let held requests look again at what they wait for."""
        async with self._changed:
            self._changed.notify_all()

    async def until(self, name: str, count: int = 1) -> None:
        """Wait until `name` was asked for `count` more times than by now."""
        goal = self.asked[name] + count
        async with asyncio.timeout(BOUND_S), self._changed:
            await self._changed.wait_for(lambda: self.asked[name] >= goal)

    def expire_tokens(self) -> None:
        """Let every token be unknown, as after a stop and a start."""
        self._tokens.clear()

    def in_s(self, seconds: float) -> str:
        """Return the time in so many seconds by the stub's clock, as AWS writes it."""
        at = datetime.fromtimestamp(self.now() + seconds, UTC)
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")

    def gives_notice(self, action: str = "terminate", left_s: float = 120.0) -> None:
        """Let AWS announce an action."""
        self.action, self.action_time = action, self.in_s(left_s)
        self.left_s = left_s

    def schedules(self, kind: str, *resources: str, left_s: float = 30.0, id_: str = "e1") -> None:
        """Let Azure announce an event."""
        self.events.append({
            "EventId": id_, "EventType": kind, "EventStatus": "Scheduled",
            "ResourceType": "VirtualMachine", "Resources": list(resources or [self.machine]),
            "NotBefore": formatdate(self.now() + left_s, usegmt=True),
            "EventSource": "Platform", "DurationInSeconds": -1,
        })  # fmt: skip

    def now(self) -> float:
        return time.time() + self.ahead_s

    def app(self) -> web.Application:
        app = web.Application()
        if "aws" in self.plays:
            app.router.add_put("/latest/api/token", self._named(self._put, lambda _: PUT))
            app.router.add_get(
                "/latest/meta-data/{path:.+}",
                self._named(self._aws, lambda request: request.match_info["path"]),
            )
        if "gcp" in self.plays:
            app.router.add_get(
                "/computeMetadata/v1/instance/{path:.+}",
                self._named(self._gcp, lambda request: request.match_info["path"]),
            )
        if "azure" in self.plays:
            app.router.add_get("/metadata/scheduledevents", self._named(self._events, _is(EVENTS)))
            app.router.add_get(
                "/metadata/instance/compute/name", self._named(self._name, _is(NAME))
            )
        app.on_response_prepare.append(self._date)
        return app

    def _named(self, handler: Handler, name: Callable[[web.Request], str]) -> Handler:
        """Count a request and commit the faults that are set for it."""

        async def handle(request: web.Request) -> web.StreamResponse:
            what = name(request)
            self.headers[what] = dict(request.headers)
            async with self._changed:
                self.asked[what] += 1
                self._changed.notify_all()
            if {what, "*"} & self.hangs:
                await self.over.wait()
            answer = await self._faulty(what, handler, request)
            self.statuses[answer.status] += 1
            return answer

        return handle

    async def _faulty(
        self, what: str, handler: Handler, request: web.Request
    ) -> web.StreamResponse:
        if self.status is not None:
            return web.Response(status=self.status)
        if self.redirects:
            return web.Response(status=302, headers={"Location": f"{self.url}/elsewhere"})
        if what in self.raw:
            return web.Response(body=self.raw[what], headers={"Metadata-Flavor": "Google"})
        return await handler(request)

    async def _put(self, request: web.Request) -> web.Response:
        ttl = request.headers.get(TTL, "")
        if not re.fullmatch("[0-9]{1,9}", ttl) or not 1 <= int(ttl) <= 21_600:
            return web.Response(status=400)
        token = secrets.token_urlsafe(40) + "=="
        self._tokens[token] = time.monotonic() + int(ttl)
        return web.Response(text=token, headers={TTL: ttl})

    async def _aws(self, request: web.Request) -> web.Response:
        tokens = request.headers.getall(TOKEN, [])
        if len(tokens) != 1 or self.refuses_tokens:
            return web.Response(status=401)
        if self._tokens.get(tokens[0], 0.0) < time.monotonic():
            return web.Response(status=401)
        match request.match_info["path"]:
            case "spot/instance-action" if self.action:
                at = self.in_s(self.left_s) if self.slides else self.action_time
                answer = {"action": self.action} | ({} if at is None else {"time": at})
                return web.json_response(answer)
            case "events/recommendations/rebalance" if self.rebalance:
                return web.json_response({"noticeTime": self.rebalance})
            case "autoscaling/target-lifecycle-state" if self.lifecycle:
                return web.Response(text=self.lifecycle)
        return web.Response(status=404)

    async def _gcp(self, request: web.Request) -> web.Response:
        path, query = request.match_info["path"], request.query
        if request.headers.get("Metadata-Flavor") != "Google":
            return web.Response(status=403)
        if path not in self.values:
            return web.Response(status=404)
        if query.get("wait_for_change") == "true" and self.waits_for_change:
            try:
                async with asyncio.timeout(float(query.get("timeout_sec", "60"))), self._changed:
                    await self._changed.wait_for(
                        lambda: self.over.is_set() or etag(self.values[path]) != query["last_etag"]
                    )
            except TimeoutError:
                pass
        value = self.values[path]
        return web.Response(text=value, headers={"Metadata-Flavor": "Google", "ETag": etag(value)})

    async def _events(self, request: web.Request) -> web.Response:
        if request.headers.get("Metadata") != "true" or "api-version" not in request.query:
            return web.Response(status=400)
        return web.json_response({"DocumentIncarnation": 1, "Events": self.events})

    async def _name(self, request: web.Request) -> web.Response:
        if request.headers.get("Metadata") != "true":
            return web.Response(status=400)
        return web.Response(text=self.machine)

    async def _date(self, request: web.Request, answer: web.StreamResponse) -> None:
        if self.says_date:
            answer.headers["Date"] = formatdate(self.now(), usegmt=True)


@asynccontextmanager
async def serving(*plays: str) -> AsyncIterator[Stub]:
    """Run a stub on loopback; requests that still hang are dropped at the end."""
    stub = Stub(*plays)
    runner = web.AppRunner(stub.app(), access_log=None, shutdown_timeout=0.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        stub.url = f"http://{host}:{port}"
        yield stub
    finally:
        stub.over.set()
        await stub.touch()
        await runner.cleanup()


def etag(value: str) -> str:
    """Return the etag of a value of GCP's."""
    return f"{abs(hash(value)):x}"[:16]


def _is(name: str) -> Callable[[web.Request], str]:
    return lambda _: name
