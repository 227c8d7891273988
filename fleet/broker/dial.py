"""Opening a connection, watching over it, and closing it."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final

from nats import errors

from fleet.broker.client import HardenedClient, cancellations, pick_server
from fleet.broker.context import Target
from fleet.broker.credentials import key_options
from fleet.errors import BrokerRefused, BrokerUnreachable, UsageError

# A server that says nothing for so long, thrice, is gone: 15 s.
PING_S: Final = 5
CONNECT_S: Final = 3
# Between tries of the first connect. Later ones are spread by `pick_server`.
RETRY_S: Final = 0.25
WATCH_S: Final = 2.0
# How long who publishes waits for a server that takes nothing. The library's own wait has no end.
ROOM_S: Final = 5.0
CLOSE_S: Final = 5.0
# A server may refuse for a moment while it reloads its accounts.
REFUSALS: Final = 5

log = logging.getLogger(__name__)


async def open_client(
    client: HardenedClient,
    target: Target,
    *,
    name: str,
    wait_s: float,
    on_down: Callable[[], Awaitable[None]],
    on_up: Callable[[], Awaitable[None]],
    on_closed: Callable[[], Awaitable[None]],
) -> None:
    """Connect for the first time. Raises BrokerUnreachable after `wait_s`, BrokerRefused."""
    last: Exception | None = None
    connected, before = False, cancellations()

    async def on_error(error: Exception) -> None:
        nonlocal last
        last = error
        if not connected and cancellations() > before:
            # The library tries for ever, and may forget that its time is over (Python 3.11).
            raise asyncio.CancelledError
        if not _is_refusal(error):
            log.debug("nats", extra={"error": _words(error)})
            return
        client.refusals += 1
        if not connected:
            raise BrokerRefused(
                f"{target.address} refused the credentials ({error}): check user, password, token "
                f"or creds; the address comes from {target.origin}"
            ) from error
        log.warning("nats: credentials refused", extra={"error": _words(error)})

    options = _options(target)
    try:
        async with asyncio.timeout(wait_s):
            await client.connect(
                list(target.servers),
                name=name,
                error_cb=on_error,
                disconnected_cb=on_down,
                reconnected_cb=on_up,
                closed_cb=on_closed,
                connect_timeout=CONNECT_S,
                ping_interval=PING_S,
                max_outstanding_pings=2,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RETRY_S,  # type: ignore[arg-type] # it only sleeps
                reconnect_to_server_handler=pick_server,
                flush_timeout=ROOM_S,
                **options,
            )
    except TimeoutError as error:
        raise BrokerUnreachable(
            f"no NATS server answers at {target.address} ({_words(last)}): {_remedy(last)}; it "
            f"comes from {target.origin}"
        ) from error
    connected = True


async def watch(client: HardenedClient) -> None:
    """Raise what a receiver raised; repair or end a connection that only looks alive."""
    while not client.is_closed:
        await asyncio.wait({client.failure}, timeout=WATCH_S)
        if client.failure.done():
            client.failure.result()
        if client.refusals >= REFUSALS or client.is_stuck:
            log.error("nats: giving up", extra={"refusals": client.refusals})
            await close_client(client)
        elif client.is_deaf:
            log.error("nats: a task of the connection ended, reconnecting")
            await client.force_reconnect()


async def close_client(client: HardenedClient) -> None:
    """Send what is buffered and close; takes at most CLOSE_S seconds each."""
    if client.is_new:
        return
    try:
        if client.is_connected and not client.is_deaf:
            async with asyncio.timeout(CLOSE_S):
                await client.flush()
    except (TimeoutError, OSError, errors.Error) as error:
        log.warning("nats: not everything was sent", extra={"error": _words(error)})
    try:
        async with asyncio.timeout(CLOSE_S):
            await client.close()
    except (TimeoutError, OSError, errors.Error) as error:
        log.warning("nats: closing failed", extra={"error": _words(error)})


def _is_refusal(error: Exception) -> bool:
    text = str(error).lower()
    return "authorization violation" in text or "user authentication" in text


def _words(error: Exception | None) -> str:
    if error is None:
        return "no answer"
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or str(error) or type(error).__name__


def _remedy(error: Exception | None) -> str:
    if isinstance(error, errors.SecureConnWantedError):
        return "turn TLS on at the server, or correct the address"
    if isinstance(error, ssl.SSLError):
        return (
            "name the authority that signed the server's certificate with NATS_CA, check this "
            "machine's clock and the certificate's dates and names, or correct the address"
        )
    return "start one with `fleet up`, or correct the address"


def _options(target: Target) -> dict[str, Any]:
    """Translate credentials for the library."""
    options: dict[str, Any] = {
        "user": target.user,
        "password": target.password,
        "token": target.token,
        **key_options(target.creds, target.nkey),
    }
    if target.inbox_prefix:
        options["inbox_prefix"] = target.inbox_prefix.rstrip(".")
    if wants_tls(target):
        options["tls"] = _tls(target)
    return options


def wants_tls(target: Target) -> bool:
    """Whether the connection must be encrypted; otherwise that is for the server to say."""
    files = (target.ca, target.cert, target.key)
    return any(files) or any(server.startswith("tls://") for server in target.servers)


def _tls(target: Target) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=target.ca)
        if target.cert:
            context.load_cert_chain(target.cert, target.key)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the TLS files {target.ca}, {target.cert}, {target.key} cannot be used: {error}"
        ) from error
    return context
