"""What all tests share: one server a session, unique names, and a guard against leftovers."""

import os
import random
import secrets
from collections.abc import Iterator

import hypothesis
import pytest

from tests.leftovers import MARK, end_all
from tests.seaweed import LOGIN, Seaweed, seaweed
from tests.server import nats_server

# No test asks the machine's real metadata service; those that play one say so.
os.environ["FLEET_CLOUD"] = "none"
# Not left to the children: settings refuse FLEET_ names that they do not know. Beside each other,
# test processes share one seed.
SHARED = "OVERBOOK_SEED"
SEED = int(os.environ.pop("FLEET_SEED", "") or os.environ.get(SHARED, "") or secrets.randbits(32))
os.environ[SHARED] = str(SEED)

# The machine may be slow; a slow example is no bug. A failure prints how to run it again.
hypothesis.settings.register_profile("overbook", deadline=None, print_blob=True)
hypothesis.settings.load_profile("overbook")


@pytest.hookimpl(tryfirst=True)  # before the plugin looks for the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file in one process, and in one of them all that needs the real engine's memory."""
    for item in items:
        needs_engine = item.get_closest_marker("vllm") is not None
        group = "vllm" if needs_engine else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_report_header() -> str:
    return f"seed: {SEED} (FLEET_SEED={SEED} repeats it)"


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Fail the session if a process that it started outlives it."""
    mark = os.environ[MARK] = secrets.token_hex(8)
    yield
    left = end_all(mark)
    assert not left, f"the tests left processes behind: {left}"


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real nats-server with JetStream, one for the whole session."""
    with nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server.url


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """A real S3 API, one for the whole session."""
    with seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """What boto3 finds by its own chain."""
    for name, value in LOGIN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture
def unique() -> str:
    """A name of this test alone, valid as tenant, model, job and batch."""
    return f"t{secrets.token_hex(5)}"


@pytest.fixture
def seeded() -> random.Random:
    """Random numbers that FLEET_SEED repeats."""
    return random.Random(SEED)
