"""Notices of AWS, against a service that behaves and one that does not."""

import logging
from collections.abc import AsyncIterator

import msgspec
import pytest

from consumers.drain import Drain
from consumers.interruption.source import Pace
from tests.metadata.listening import QUICK, listening
from tests.metadata.stub import ACTION, ASG, PUT, REBALANCE, TOKEN, TTL, Stub, serving


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    async with serving("aws") as stub:
        yield stub


async def test_404_is_no_notice_and_one_token_serves_many_looks(stub: Stub) -> None:
    async with listening(stub, "aws") as listener:
        await stub.until(ACTION, 5)
    assert listener.notices == []
    assert stub.asked[PUT] == 1
    assert stub.statuses[401] == 0


@pytest.mark.parametrize("action", ["terminate", "stop"])
async def test_a_notice_leaves_the_time_that_it_says(stub: Stub, action: str) -> None:
    async with listening(stub, "aws") as listener:
        await stub.until(ACTION)
        stub.gives_notice(action, left_s=108)
        notice = await listener.heard()
    assert (notice.kind, notice.source) == ("terminate", "aws")
    assert action in notice.detail
    assert 90 < listener.left_s[0] <= 109


async def test_a_hibernation_begins_at_once(stub: Stub) -> None:
    stub.gives_notice("hibernate", left_s=120)
    async with listening(stub, "aws") as listener:
        await listener.heard()
    assert listener.left_s[0] <= 0


@pytest.mark.parametrize("ahead_s", [-7200.0, 3600.0])
async def test_clocks_that_differ_do_not_change_the_time_left(stub: Stub, ahead_s: float) -> None:
    stub.ahead_s = ahead_s
    stub.gives_notice(left_s=60)
    async with listening(stub, "aws") as listener:
        await listener.heard()
    assert 40 < listener.left_s[0] <= 61


@pytest.mark.parametrize(
    ("left_s", "least", "most"), [(-30.0, -1, 0), (900.0, 119, 120), (25.0, 5, 26)]
)
async def test_the_time_left_is_never_negative_and_never_over_two_minutes(
    stub: Stub, left_s: float, least: float, most: float
) -> None:
    stub.gives_notice(left_s=left_s)
    async with listening(stub, "aws") as listener:
        await listener.heard()
    assert least <= listener.left_s[0] <= most


@pytest.mark.parametrize("time", [None, "soon", 17, "9" * 500, "2026-13-45T99:00:00Z", ["x"]])
async def test_a_notice_without_a_usable_time_leaves_two_minutes_less_a_poll(
    stub: Stub, time: object
) -> None:
    stub.action, stub.action_time = "terminate", time
    async with listening(stub, "aws") as listener:
        await listener.heard()
    assert 117 < listener.left_s[0] <= 118


async def test_a_notice_is_told_without_a_date_too(stub: Stub) -> None:
    stub.gives_notice(left_s=20)
    stub.raw[ACTION] = b'{"action": "terminate", "time": "0001-01-01T00:00:00+23:00"}'
    async with listening(stub, "aws") as listener:
        await listener.heard()
    assert 117 < listener.left_s[0] <= 118


async def test_a_notice_of_an_earlier_life_is_ignored_and_said_once(
    stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    stub.gives_notice(left_s=-90)
    async with listening(stub, "aws") as listener:
        await stub.until(ACTION, 5)
    assert listener.notices == []
    assert [r.message for r in warnings(caplog)] == ["a notice is too old to be meant"]


async def test_a_sliding_notice_is_one_notice_and_drains_once(stub: Stub) -> None:
    stub.slides = True
    stub.gives_notice()
    drain, changes = Drain(grace_s=0), []
    async with listening(stub, "aws") as listener:
        await listener.heard()
        await stub.until(ACTION, 5)
    for notice in [*listener.notices, *listener.notices]:
        changes.append(drain.hear(notice))  # noqa: PERF401 - each call changes the next one
    assert changes == [True, False]


async def test_a_second_notice_that_comes_sooner_is_told(stub: Stub) -> None:
    stub.gives_notice(left_s=100)
    async with listening(stub, "aws") as listener:
        await listener.heard()
        stub.gives_notice(left_s=40)
        await listener.heard(2)
    assert listener.left_s[1] <= 41


async def test_a_dead_token_is_replaced_and_asked_with_at_once(stub: Stub) -> None:
    async with listening(stub, "aws") as listener:
        await stub.until(ASG)
        stub.expire_tokens()
        stub.gives_notice()
        await listener.heard()
        await stub.until(ACTION, 3)
    assert stub.asked[PUT] == 2
    assert stub.statuses[401] == 1


async def test_endless_401s_end_nothing_and_make_no_storm(
    stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with listening(stub, "aws") as listener:
        await stub.until(ASG)
        stub.refuses_tokens = True
        await stub.until(PUT, 3)
        stub.refuses_tokens = False
        stub.gives_notice()
        await listener.heard()
    assert [r.message for r in caplog.records].count("the metadata service is busy") == 1


async def test_put_asks_for_a_time_that_the_service_grants(stub: Stub) -> None:
    async with listening(stub, "aws"):
        await stub.until(ACTION)
    assert 1 <= int(stub.headers[PUT][TTL]) <= 21_600
    assert TOKEN in stub.headers[ACTION]


async def test_a_hop_limit_is_silence_said_once_without_a_warning_and_asked_again(
    stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stub.hangs = {PUT}
    async with listening(stub, "aws", pace=quick(answer_s=0.05)) as listener:
        await stub.until(PUT, 4)
        assert not warnings(caplog)
        said = [r.message for r in caplog.records if r.name.startswith("consumers")]
        assert said == ["no metadata service, so no early notice"]
        stub.hangs = set()
        stub.gives_notice()
        await listener.heard()


@pytest.mark.parametrize("status", [503, 500, 429])
async def test_an_overloaded_service_is_waited_for(stub: Stub, status: int) -> None:
    async with listening(stub, "aws") as listener:
        await stub.until(ASG)
        stub.status = status
        await stub.until(ACTION, 3)
        stub.status = None
        stub.gives_notice()
        await listener.heard()


async def test_a_service_that_hangs_in_mid_life_is_asked_again(stub: Stub) -> None:
    async with listening(stub, "aws", pace=quick(answer_s=0.05)) as listener:
        await stub.until(ASG)
        stub.hangs = {ACTION}
        await stub.until(ACTION, 3)
        stub.hangs = set()
        stub.gives_notice()
        await listener.heard()


@pytest.mark.parametrize("path", [REBALANCE, ASG])
async def test_a_path_that_is_never_answered_does_not_make_notices_late(
    stub: Stub, path: str
) -> None:
    stub.hangs = {path}
    pace = quick(answer_s=1.5, retry_s=60.0, silent_s=60.0)
    async with listening(stub, "aws", pace=pace) as listener:
        await stub.until(path, 2)
        stub.gives_notice()
        await listener.heard()


async def test_a_rebalance_is_a_hint_and_told_once(stub: Stub) -> None:
    stub.rebalance = stub.in_s(0)
    drain = Drain(grace_s=0)
    async with listening(stub, "aws") as listener:
        await listener.heard()
        await stub.until(REBALANCE, 4)
    assert [(one.kind, one.deadline) for one in listener.notices] == [("rebalance", None)]
    drain.hear(listener.notices[0])
    assert not drain.begun.is_set()


async def test_a_group_that_lets_the_instance_go_is_told_once_and_has_no_time(stub: Stub) -> None:
    async with listening(stub, "aws") as listener:
        await stub.until(ASG)
        stub.lifecycle = "Terminated"
        notice = await listener.heard()
        await stub.until(ASG, 4)
    assert [one.source for one in listener.notices] == ["asg"]
    assert notice.kind == "terminate"
    assert 117 < listener.left_s[0] <= 118


@pytest.mark.parametrize("state", [None, "InService", "Standby", "Warmed:Stopped"])
async def test_other_states_of_a_group_mean_nothing(stub: Stub, state: str | None) -> None:
    stub.lifecycle = state
    async with listening(stub, "aws") as listener:
        await stub.until(ASG, 3)
    assert listener.notices == []


async def test_proxies_of_the_environment_are_not_used(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    stub.gives_notice()
    async with listening(stub, "aws") as listener:
        await listener.heard()


async def test_a_switched_off_service_is_not_asked(stub: Stub) -> None:
    off = {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": stub.url,
    }
    async with serving("gcp") as other, listening(other, "auto", env=off) as listener:
        other.values["preempted"] = "TRUE"
        await listener.heard()
    assert not stub.asked


def warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


def quick(**more: float) -> Pace:
    return msgspec.structs.replace(QUICK, **more)
