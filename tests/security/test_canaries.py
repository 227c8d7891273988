"""Secrets and prompts are planted in a fleet at work, and looked for wherever it says anything."""

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet.broker.stored import messages
from fleet.children import die_with_parent
from fleet.cli.main import cli
from fleet.errors import FleetError
from fleet.subjects import DEAD, EVENTS
from tests.asking import Asker, answer_to, chat, chunk, text_of
from tests.fleets import QUICK, ROOT, RunningFleet, running_fleet
from tests.integration.brokers import connected
from tests.ports import free_port
from tests.security.sockets import descendants, listening
from tests.server import nats_server

PASSWORD = f"canary-password-{secrets.token_hex(6)}"
CLOUD_KEY = f"canary-cloud-key-{secrets.token_hex(6)}"
PROMPT = f"canary-prompt-{secrets.token_hex(6)}"
FIELD = f"canary-field-{secrets.token_hex(6)}"
ANSWER = answer_to(PROMPT, 8).strip()
SECRETS = {"password": PASSWORD, "cloud key": CLOUD_KEY}
WORDS = {"prompt": PROMPT, "unknown field": FIELD, "answer": ANSWER}
# Every command that shows something of a fleet.
SHOWS = (
    ("nodes", "--json"),
    ("doctor", "--json"),
    ("cost", "--by", "job", "--json"),
    ("dead", "ls", "--json"),
    ("verify", "--json"),
    ("check", "--format", "json"),
    ("check", "--format", "prometheus"),
    ("top", "--once"),
    ("top", "--once", "--json"),
)
BOUND_S = 60.0


class Scene:
    """What a fleet said while it worked on the canaries, by where; and where it listened."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}
        self.listened: list[str] = []
        self.answer = ""
        self.fetched = 0
        self.logs: dict[str, Path] = {}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Play a fleet's day: good and bad jobs, one that kills engines, and a drain."""
    folder, made = tmp_path_factory.mktemp("scene"), Scene()
    login = f'authorization {{ user: overbook, password: "{PASSWORD}" }}'
    port = free_port()
    with ExitStack() as stack:
        server = stack.enter_context(nats_server(folder / "broker", config=login))
        url = server.url.replace("://", f"://overbook:{PASSWORD}@")
        env = {
            **QUICK,
            "FLEET_NATS": url,
            "FLEET_LOG_FORMAT": "json",
            "AWS_SECRET_ACCESS_KEY": CLOUD_KEY,
            "AWS_ACCESS_KEY_ID": CLOUD_KEY,
        }
        more = {"FLEET_SCRIPTED_MISHAPS": "die=stroke,fail=oops", "FLEET_HEALTH_PORT": "0"}
        more["OTEL_TRACES_EXPORTER"] = "console"
        flags = ("--spot", "1", "--token-rate", "100")
        fleet = stack.enter_context(running_fleet(folder / "fleet", *flags, env=env | more))
        numbers = stack.enter_context(
            running(made, folder, "metrics", "--listen", f"127.0.0.1:{port}", env=env)
        )
        asked = free_port()
        node = env | {"FLEET_HEALTH_PORT": str(asked), "OTEL_TRACES_EXPORTER": "console"}
        consumer = ("consumer", "on-demand", "--model", "smollm2", "--engine", "scripted")
        alone = stack.enter_context(running(made, folder, *consumer, env=node))
        read(asked, "/livez")
        bait = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        made.answer = asyncio.run(work(url, fleet, bait.getsockname()[1]))
        made.fetched = visitors(bait)
        for name, at in (("a consumer's numbers", asked), ("the exporter's", port)):
            made.said[name] = read(at, "/metrics")
        made.said |= {f"fleet {' '.join(show)}": shown(show, env) for show in SHOWS}
        pids = {pid for one in (fleet.process, numbers, alone) for pid in descendants(one.pid)}
        made.listened = listening(pids)
        made.said["the list of processes"] = "\n".join(map(command_of, pids))
        made.said |= asyncio.run(stored(url))
    made.said |= fleet.logs()
    made.said |= {name: log.read_text() for name, log in made.logs.items()}
    return made


async def work(url: str, fleet: RunningFleet, bait: int) -> str:
    """Send the prompt in every form that a fleet answers, refuses, fails at or dies of.

    bait: a port on which somebody waits to be fetched from.
    """
    async with connected(url) as connection:
        asker = Asker(connection, "acme")
        (line,) = await asker.ask("realtime", chat(PROMPT, 8))
        for tier in ("background", "batch"):
            await asker.ask(tier, chunk([chat(PROMPT, 8), chat(PROMPT, temprature=FIELD)]))
        bad = [b"{" + PROMPT.encode(), json.dumps({"url": PROMPT, "body": {}}).encode()]
        for number, payload in enumerate(bad):
            await asker.publish("batch", payload, headers={"Fleet-Job-Id": f"bad{number}"})
            await asker.lines(f"bad{number}")
        for number, job in enumerate(fetching(f"127.0.0.1:{bait}")):
            await asker.publish("batch", job, headers={"Fleet-Job-Id": f"fetch{number}"})
            (refused,) = await asker.lines(f"fetch{number}")
            assert refused.error, job
        await asker.ask("realtime", chat(f"oops {PROMPT}", 8))
        await asker.publish("batch", chat(PROMPT, 400), headers={"Fleet-Job-Id": "moved"})
        (spot,) = fleet.of("spot")
        fleet.send(spot, signal.SIGTERM)
        await asker.publish("realtime", chat(f"stroke {PROMPT}", 8))
        await asker.dead_letter("bad0")
        return text_of(line)


def fetching(host: str) -> Iterator[dict[str, object]]:
    """Give jobs that ask for something to be fetched, or read from the disk."""
    for uri in (f"http://{host}/x", "file:///etc/passwd", f"s3://{host}/x/acme/y"):
        part = {"type": "image_url", "image_url": {"url": uri}}
        body = {"messages": [{"role": "user", "content": [part]}]}
        yield {"url": "/v1/chat/completions", "body": body}
        yield {"url": "/v1/audio/transcriptions", "body": {"file_url": uri}}
        yield {"input": {"uri": uri, "sha256": "0" * 64, "first": 0, "count": 1}}


def visitors(bait: socket.socket) -> int:
    """Count who came."""
    bait.setblocking(False)
    count = 0
    with suppress(BlockingIOError):
        while bait.accept():
            count += 1
    return count


async def stored(url: str) -> dict[str, str]:
    """Read what lies in the streams that are not for prompts."""
    async with connected(url) as connection:
        events = [str(one) async for one in messages(connection, EVENTS, "events.>")]
        letters = [one async for one in messages(connection, DEAD, "dead.>")]
    reasons = [str({k: v for k, v in one.headers.items() if "Reason" in k}) for one in letters]
    return {"events": "\n".join(events), "reasons of dead letters": "\n".join(reasons)}


@contextmanager
def running(
    made: Scene, folder: Path, *words: str, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of `fleet` that goes on until it is told to end."""
    log = made.logs[words[0]] = folder / f"{words[0]}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "fleet", *words],
            stdout=file,
            stderr=file,
            cwd=ROOT,
            env={**os.environ, **env},
            preexec_fn=die_with_parent,
        )
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(BOUND_S) == 0, log.read_text()


def shown(words: tuple[str, ...], env: Mapping[str, str]) -> str:
    """Run a command of `fleet` that shows something, and return all that it says."""
    done = CliRunner().invoke(cli, words, env=env)
    assert done.exception is None or isinstance(done.exception, SystemExit | FleetError), done
    return f"{done.output}{done.exception}"


def read(port: int, path: str) -> str:
    """Ask until somebody answers."""
    give_up = time.monotonic() + BOUND_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            assert time.monotonic() < give_up, f"nobody answers on {port}"
            time.sleep(0.2)


def command_of(pid: int) -> str:
    """Read a process's words; none where it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def places(scene: Scene, words: str) -> list[str]:
    return [where for where, said in scene.said.items() if words in said]


def test_the_fleet_did_work_on_what_was_planted(scene: Scene) -> None:
    assert scene.answer.strip() == ANSWER
    # Words that may be told are found in each kind of place, so the others are looked for well.
    assert "fleet_items_total" in scene.said["a consumer's numbers"]
    assert "acme" in scene.said["events"]
    assert any("process jobs." in said for said in scene.said.values())
    assert "python" in scene.said["the list of processes"]


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_told_anywhere(scene: Scene, name: str) -> None:
    assert places(scene, SECRETS[name]) == []


@pytest.mark.parametrize("name", WORDS)
def test_no_prompt_and_no_answer_is_told_anywhere(scene: Scene, name: str) -> None:
    assert places(scene, WORDS[name]) == []


def test_nothing_is_fetched_for_a_job(scene: Scene) -> None:
    assert scene.fetched == 0


def test_nothing_listens_beyond_this_machine(scene: Scene) -> None:
    assert scene.listened
    assert [one for one in scene.listened if one not in {"127.0.0.1", "::1"}] == []


def test_a_log_is_lines_of_json_and_each_says_when_and_how_bad(scene: Scene) -> None:
    said = scene.said["consumer"].splitlines()
    lines = [json.loads(line) for line in said if '"level"' in line]
    assert lines
    for line in lines:
        assert {"at", "level", "text"} <= line.keys()
