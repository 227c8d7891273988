"""Prompts that hurt their consumer: one item pays for it, its neighbours and the fleet do not."""

from collections.abc import AsyncIterator, Iterator

import pytest

from fleet.events import JobRetried
from fleet.job import ResultLine
from tests.asking import Asker, answer_to, chat, chunk, events_of, text_of
from tests.fleets import QUICK, RunningFleet, running_fleet
from tests.integration.brokers import connected

pytestmark = pytest.mark.timeout(300)
MISHAPS = "crash=boom,fail=oops,die=stroke"
SLOW_S = 120.0


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    """Two spot consumers that some prompts kill, and that are replaced."""
    env = {**QUICK, "FLEET_ACK_WAIT_S": "2.5", "FLEET_SCRIPTED_MISHAPS": MISHAPS}
    flags = ("--on-demand", "0", "--spot", "2", "--replace", "--token-rate", "20")
    with running_fleet(tmp_path_factory.mktemp("fleet"), *flags, env=env) as running:
        yield running


@pytest.fixture
async def asker(fleet: RunningFleet, unique: str) -> AsyncIterator[Asker]:
    async with connected(fleet.nats) as connection:
        yield Asker(connection, unique)


async def test_an_item_that_kills_its_consumers_is_found_and_its_neighbours_finish(
    asker: Asker,
) -> None:
    prompts = [f"item {n}" for n in range(8)]
    prompts[5] = "boom"
    await publish(asker, "job", prompts)
    await publish(asker, "bystander", ["one", "two"])
    lines = await asker.lines("job", bound_s=SLOW_S)
    assert codes(lines) == {5: "crashed_consumers"}
    check(lines, prompts)
    check(await asker.lines("bystander", bound_s=SLOW_S), ["one", "two"])
    # Three crashes until the job is suspected, two that convict the item.
    assert 5 <= lines[5].fleet.interruptions <= 8


async def test_a_job_of_which_nothing_but_crashes_came_is_a_dead_letter_with_its_history(
    asker: Asker,
) -> None:
    await publish(asker, "job", ["boom"])
    (line,) = await asker.lines("job", bound_s=SLOW_S)
    assert line.error is not None
    assert "kills" in line.error.message
    letter = await asker.dead_letter("job")
    assert letter.code == "crashed_consumers"
    assert len(letter.history) >= 4
    assert all("silent" in past for past in letter.history)
    assert letter.size_bytes > 0


async def test_an_item_that_fails_is_tried_again_and_then_given_up_alone(asker: Asker) -> None:
    prompts = ["good", "oops", "fine"]
    await publish(asker, "job", prompts)
    lines = await asker.lines("job", bound_s=SLOW_S)
    assert codes(lines) == {1: "failed"}
    check(lines, prompts)
    assert "told to fail" in (lines[1].error.message if lines[1].error else "")
    assert lines[1].fleet.attempts == 3
    retried = await events_of(asker.connection, JobRetried, tenant=asker.tenant)
    assert [(one.attempts, one.delay_s) for one in retried] == [(1, 1.0), (2, 2.0)]


async def test_a_job_of_which_everything_failed_is_a_dead_letter_with_its_history(
    asker: Asker,
) -> None:
    await publish(asker, "job", ["oops", "oops too"])
    lines = await asker.lines("job", bound_s=SLOW_S)
    assert codes(lines) == {0: "failed", 1: "failed"}
    letter = await asker.dead_letter("job")
    assert letter.code == "failed"
    assert sum(" failed " in past for past in letter.history) == 3


async def test_an_item_that_kills_the_engine_alone_is_found_too(asker: Asker) -> None:
    prompts = ["good", "stroke", "fine"]
    await publish(asker, "job", prompts)
    lines = await asker.lines("job", bound_s=SLOW_S)
    assert codes(lines) == {1: "crashed_consumers"}
    check(lines, prompts)


async def publish(asker: Asker, job: str, prompts: list[str]) -> None:
    """Publish a greedy job."""
    requests = [chat(prompt, 10, temperature=0) for prompt in prompts]
    await asker.publish("batch", chunk(requests), headers={"Fleet-Job-Id": job})


def codes(lines: list[ResultLine]) -> dict[int, str]:
    """Return which items failed, and how."""
    return {line.fleet.item: line.error.code for line in lines if line.error is not None}


def check(lines: list[ResultLine], prompts: list[str]) -> None:
    """Compare what did not fail with what nobody disturbed."""
    for line, prompt in zip(lines, prompts, strict=True):
        if line.error is None:
            assert text_of(line) == answer_to(prompt, 10)
