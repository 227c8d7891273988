"""Buckets: compare-and-swap, markers, lost answers and foreign values."""

import msgspec
import pytest

from fleet.broker.connection import Connection
from fleet.broker.kv import SEAL, Bucket, seal_of
from fleet.errors import BrokerUnreachable, CorruptRecord, LeaseLost, UsageError
from fleet.topology import bucket_subject
from tests.integration.lossy import lose_answers


class Value(msgspec.Struct, frozen=True):
    text: str


@pytest.fixture
def bucket(provisioned: Connection) -> Bucket[Value]:
    return Bucket(provisioned, "policy", Value)


async def test_a_value_is_read_back_with_its_revision(bucket: Bucket[Value], unique: str) -> None:
    revision = await bucket.put(unique, Value("one"))
    entry = await bucket.get(unique)
    assert entry is not None
    assert (entry.value, entry.revision) == (Value("one"), revision)
    assert entry.written_at > 1_700_000_000


async def test_an_absent_key_is_none(bucket: Bucket[Value], unique: str) -> None:
    assert await bucket.get(unique) is None
    assert not await bucket.exists(unique)


async def test_a_stale_write_is_refused(bucket: Bucket[Value], unique: str) -> None:
    first = await bucket.put(unique, Value("one"), revision=0)
    await bucket.put(unique, Value("two"), revision=first)
    with pytest.raises(LeaseLost, match=unique):
        await bucket.put(unique, Value("late"), revision=first)
    entry = await bucket.get(unique)
    assert entry is not None
    assert entry.value == Value("two")


async def test_only_the_first_creation_wins(bucket: Bucket[Value], unique: str) -> None:
    await bucket.put(unique, Value("mine"), revision=0)
    with pytest.raises(LeaseLost):
        await bucket.put(unique, Value("yours"), revision=0)


async def test_a_forgotten_key_can_be_created_again(bucket: Bucket[Value], unique: str) -> None:
    revision = await bucket.put(unique, Value("one"), revision=0)
    await bucket.forget(unique, revision=revision)
    assert await bucket.get(unique) is None
    await bucket.put(unique, Value("two"), revision=0)
    entry = await bucket.get(unique)
    assert entry is not None
    assert entry.value == Value("two")


async def test_a_stale_owner_cannot_forget(bucket: Bucket[Value], unique: str) -> None:
    first = await bucket.put(unique, Value("one"))
    await bucket.put(unique, Value("two"))
    with pytest.raises(LeaseLost):
        await bucket.forget(unique, revision=first)
    assert await bucket.exists(unique)


@pytest.mark.parametrize("guarded", [True, False])
async def test_a_write_whose_answer_was_lost_is_known_again(
    bucket: Bucket[Value],
    provisioned: Connection,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
    guarded: bool,
) -> None:
    lose_answers(provisioned, monkeypatch, times=1)
    revision = await bucket.put(unique, Value("one"), revision=0 if guarded else None)
    entry = await bucket.get(unique)
    assert entry is not None
    assert entry.revision == revision


async def test_a_write_that_never_arrives_is_unreachable(
    bucket: Bucket[Value],
    provisioned: Connection,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lose_answers(provisioned, monkeypatch, times=99, stored=False)
    with pytest.raises(BrokerUnreachable):
        await bucket.put(unique, Value("one"), revision=0)
    assert await bucket.get(unique) is None


async def test_another_writers_value_is_not_mistaken_for_ones_own(
    bucket: Bucket[Value],
    provisioned: Connection,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = await bucket.put(unique, Value("one"))
    await bucket.put(unique, Value("theirs"))
    lose_answers(provisioned, monkeypatch, times=99, stored=False)
    with pytest.raises(LeaseLost):
        await bucket.put(unique, Value("mine"), revision=first)


async def test_a_foreign_value_can_be_seen_and_written_over(
    bucket: Bucket[Value], provisioned: Connection, unique: str
) -> None:
    await provisioned.append(bucket_subject("policy", unique), b"[" * 5000)
    with pytest.raises(CorruptRecord) as caught:
        await bucket.get(unique)
    await bucket.put(unique, Value("good"), revision=caught.value.revision)
    assert await bucket.get(unique) is not None


async def test_entries_leave_out_what_is_foreign_or_forgotten(
    bucket: Bucket[Value], provisioned: Connection, unique: str
) -> None:
    for name in ("a", "b", "gone"):
        await bucket.put(f"{unique}.{name}", Value(name))
    await bucket.put(f"{unique}x.a", Value("neighbour"))
    await bucket.forget(f"{unique}.gone")
    await provisioned.append(bucket_subject("policy", f"{unique}.bad"), b"\xff")
    entries = await bucket.entries(unique)
    assert {key: entry.value.text for key, entry in entries.items()} == {
        f"{unique}.a": "a",
        f"{unique}.b": "b",
    }
    assert bucket.skipped == 1


async def test_entries_come_in_as_many_pages_as_there_are(
    bucket: Bucket[Value], unique: str
) -> None:
    for number in range(300):
        await bucket.put(f"{unique}.{number}", Value("x"))
    assert len(await bucket.entries(unique)) == 300


async def test_a_key_with_a_wildcard_reads_nobody_elses_value(
    bucket: Bucket[Value], unique: str
) -> None:
    await bucket.put(f"{unique}.a", Value("secret"))
    with pytest.raises(UsageError, match="wildcard"):
        await bucket.get(f"{unique}.*")


async def test_a_sealed_value_that_was_changed_by_hand_is_corrupt(
    provisioned: Connection, unique: str
) -> None:
    bucket, subject = Bucket(provisioned, "policy", Value, sealed=True), f"$KV.policy.{unique}"
    await bucket.put(unique, Value("one"))
    entry = await bucket.get(unique)
    assert entry is not None
    assert entry.value == Value("one")
    whole = msgspec.json.encode(Value("one"))
    seal = {SEAL: seal_of(whole)}
    for payload, headers in ((whole, {}), (whole.replace(b"one", b"two"), seal), (whole[:9], seal)):
        await provisioned.append(subject, payload, headers=headers)
        with pytest.raises(CorruptRecord, match="seal"):
            await bucket.get(unique)
