"""The result log: fenced, found complete, and deaf to forgeries."""

import msgspec
import pytest

from fleet.broker.connection import Connection
from fleet.broker.log_state import MAX_MESSAGE_BYTES, LogState, pack
from fleet.broker.results import LogMessage, ResultLog
from fleet.errors import BrokerUnreachable, LeaseLost
from fleet.job import FleetInfo, Response, ResultLine, WireError
from fleet.wire import decode_lines
from tests.integration.lossy import lose_answers

SHA = "ab" * 32


def a_line(job: str, item: int, items: int, *, text: str = "hello") -> ResultLine:
    return ResultLine(
        id=f"{job}-{item}",
        custom_id=f"row-{item}",
        response=Response(status_code=200, request_id="r", body={"text": text}),
        usage={"prompt_tokens": 2, "completion_tokens": 3},
        fleet=FleetInfo(job=job, item=item, items=items, node="n1", capacity_type="spot"),
    )


@pytest.fixture
def results(provisioned: Connection) -> ResultLog:
    return ResultLog(provisioned)


async def put(results: ResultLog, job: str, *lines: ResultLine, last: int = 0) -> int:
    return await results.append("acme", None, job, lines, last=last, sha256=SHA, writer="w1")


async def seen(results: ResultLog, batch: str | None, *, after: int = 0) -> list[LogMessage]:
    return [message async for message in results.follow("acme", batch, after=after)]


async def test_a_new_job_has_an_empty_log(results: ResultLog, unique: str) -> None:
    assert await results.read("acme", None, unique) == LogState()


async def test_a_log_is_complete_once_every_item_has_its_line(
    results: ResultLog, unique: str
) -> None:
    last = await put(results, unique, a_line(unique, 2, 3), a_line(unique, 0, 3))
    state = await results.read("acme", None, unique)
    assert (state.done, state.items, state.complete) == (frozenset({0, 2}), 3, False)
    assert (state.sequence, state.sha256) == (last, SHA)
    last = await put(results, unique, a_line(unique, 1, 3), last=last)
    state = await results.read("acme", None, unique)
    assert state.complete
    assert state.sequence == last
    assert state.usage == {"prompt_tokens": 6, "completion_tokens": 9}


async def test_a_stale_append_is_refused(results: ResultLog, unique: str) -> None:
    last = await put(results, unique, a_line(unique, 0, 2))
    await put(results, unique, a_line(unique, 1, 2), last=last)
    with pytest.raises(LeaseLost, match=unique):
        await put(results, unique, a_line(unique, 1, 2, text="late"), last=last)


async def test_a_take_over_fences_the_former_owner(results: ResultLog, unique: str) -> None:
    last = await put(results, unique, a_line(unique, 0, 2))
    fence = await results.take_over(
        "acme", None, unique, last=last, sha256=SHA, writer="w2", node="n2"
    )
    with pytest.raises(LeaseLost):
        await put(results, unique, a_line(unique, 1, 2), last=last)
    state = await results.read("acme", None, unique)
    assert (state.done, state.sequence) == (frozenset({0}), fence)
    await put(results, unique, a_line(unique, 1, 2), last=fence)
    assert (await results.read("acme", None, unique)).complete


async def test_a_take_over_of_an_empty_log_keeps_the_fingerprint(
    results: ResultLog, unique: str
) -> None:
    await results.take_over("acme", None, unique, last=0, sha256=SHA, writer="w", node="n")
    state = await results.read("acme", None, unique)
    assert (state.sha256, state.items, state.complete) == (SHA, None, False)


async def test_an_append_whose_answer_was_lost_is_not_repeated(
    results: ResultLog, provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answers(provisioned, monkeypatch, times=1)
    last = await put(results, unique, a_line(unique, 0, 2))
    last = await put(results, unique, a_line(unique, 1, 2), last=last)
    stored = [message async for message in results.follow("acme", None, job=unique)]
    assert [message.sequence for message in stored][-1] == last
    assert len(stored) == 2


async def test_an_append_that_never_arrives_is_unreachable_and_no_lost_lease(
    results: ResultLog, provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answers(provisioned, monkeypatch, times=99, stored=False)
    with pytest.raises(BrokerUnreachable):
        await put(results, unique, a_line(unique, 0, 1))


async def test_equal_lines_of_another_run_are_not_taken_for_ones_own(
    results: ResultLog, unique: str
) -> None:
    await put(results, unique, a_line(unique, 0, 1))
    with pytest.raises(LeaseLost):
        await put(results, unique, a_line(unique, 0, 1))


@pytest.mark.parametrize(
    "forged",
    [
        b'{"stream":"JOBS_BATCH","seq":7}',
        b"",
        b"\xff",
        b"[" * 9999,
        msgspec.json.encode(a_line("another-job", 0, 1)),
        msgspec.json.encode(a_line("JOB", 5, 2)),
        msgspec.json.encode(msgspec.structs.replace(a_line("JOB", 0, 1), response=None)),
    ],
)
async def test_a_forged_result_is_absent_and_blocks_nothing(
    results: ResultLog, provisioned: Connection, unique: str, forged: bytes
) -> None:
    payload = forged.replace(b"JOB", unique.encode())
    receipt = await provisioned.append(f"results.acme._.{unique}", payload)
    state = await results.read("acme", None, unique)
    assert state == LogState(sequence=receipt.sequence)
    await put(results, unique, a_line(unique, 0, 1), last=state.sequence)
    assert (await results.read("acme", None, unique)).complete


async def test_the_first_line_of_an_item_stands(
    results: ResultLog, provisioned: Connection, unique: str
) -> None:
    await put(results, unique, a_line(unique, 0, 2, text="first"))
    second = msgspec.json.encode(a_line(unique, 0, 2, text="second"))
    await provisioned.append(f"results.acme._.{unique}", second)
    state = await results.read("acme", None, unique)
    (line,) = state.lines
    assert line.response is not None
    assert line.response.body == {"text": "first"}


async def test_a_log_of_several_messages_holds_every_line_once(
    results: ResultLog, unique: str
) -> None:
    lines = [a_line(unique, item, 3, text="x" * (MAX_MESSAGE_BYTES // 2)) for item in range(3)]
    await put(results, unique, *lines)
    state = await results.read("acme", None, unique)
    assert state.lines == tuple(lines)
    assert len([message async for message in results.follow("acme", None, job=unique)]) == 3


def test_lines_are_packed_in_order_and_under_the_limit() -> None:
    lines = [a_line("j", item, 5) for item in range(5)]
    size = len(msgspec.json.encode(lines[0]))
    packed = pack(lines, limit_bytes=2 * size + 1)
    assert [len(decode_lines(payload)) for payload in packed] == [2, 2, 1]
    assert all(len(payload) <= 2 * size + 1 for payload in packed)
    assert [line for payload in packed for line in decode_lines(payload)] == lines
    assert pack([]) == ()


def test_a_line_that_fits_no_message_becomes_an_error_that_says_so() -> None:
    (payload,) = pack([a_line("j", 0, 1, text="x" * 5000)], limit_bytes=1000)
    (line,) = decode_lines(payload)
    assert line.response is None
    assert isinstance(line.error, WireError)
    assert line.error.code == "result_too_large"
    assert "limit of 1000" in line.error.message
    assert line.custom_id == "row-0"


async def test_a_follower_sees_all_jobs_of_its_batch_and_then_only_what_is_new(
    results: ResultLog, unique: str
) -> None:
    for job in ("a", "b"):
        await results.append(
            "acme", unique, job, [a_line(job, 0, 1)], last=0, sha256=SHA, writer="w"
        )
    await results.append(
        "acme", f"{unique}x", "c", [a_line("c", 0, 1)], last=0, sha256=SHA, writer="w"
    )
    first = await seen(results, unique)
    assert [message.job for message in first] == ["a", "b"]
    last = first[-1].sequence
    assert await seen(results, unique, after=last) == []
    await results.take_over("acme", unique, "d", last=0, sha256=SHA, writer="w", node="n")
    (claim,) = await seen(results, unique, after=last)
    assert (claim.job, claim.is_claim, claim.lines) == ("d", True, ())
