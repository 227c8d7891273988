"""Checkpoints too large for a claim lie in the object store, and are never in the way."""

import logging

import msgspec
import pytest

from fleet.broker import objects
from fleet.broker.claims import LARGE_CLAIM_BYTES, Claims
from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.broker.objects import Objects
from fleet.broker.stored import messages
from fleet.claim import Claim, Elsewhere, Saved
from fleet.errors import LeaseLost, StoreRefused
from fleet.subjects import claim_key

SHA = "0" * 64
LARGE = tuple(Saved(n, tuple(range(4000)), tuple(range(20_000))) for n in range(16))
SMALL = (Saved(0, (1, 2), (3,)),)
# A token that no time stamp, hash or number of a process holds by chance.
EDITED = 98_765_432_109_876_543


def a_claim(writer: str, saved: tuple[Saved, ...] = LARGE) -> Claim:
    return Claim(owner="node-1", writer=writer, sha256=SHA, saved=saved)


@pytest.fixture
def claims(provisioned: Connection) -> Claims:
    return Claims(provisioned)


async def raw_claim(connection: Connection, tenant: str, job: str) -> Claim:
    """Read a claim as it lies in the bucket."""
    entry = await Bucket(connection, "claims", Claim, sealed=True).get(claim_key(tenant, job))
    assert entry is not None
    return entry.value


async def objects_of(connection: Connection, tenant: str) -> list[str]:
    """Name a tenant's objects."""
    records = messages(connection, "OBJ_payloads", "$O.payloads.M.>")
    names = [msgspec.json.decode(record.payload)["name"] async for record in records]
    return [name for name in names if name.startswith(f"{tenant}/")]


async def test_a_large_checkpoint_is_read_back_whole_by_another_consumer(
    claims: Claims, provisioned: Connection, unique: str
) -> None:
    assert len(msgspec.json.encode(a_claim("w"))) > 1024 * 1024, "more than a message holds"
    await claims.save(unique, "j", a_claim("w"), revision=0)
    assert len(msgspec.json.encode(await raw_claim(provisioned, unique, "j"))) < 1000
    held = await Claims(provisioned).get(unique, "j")
    assert held is not None
    assert held.claim == a_claim("w")


async def test_a_claim_at_the_limit_stays_in_its_bucket(
    claims: Claims, provisioned: Connection, unique: str
) -> None:
    room = LARGE_CLAIM_BYTES - len(msgspec.json.encode(a_claim("w", (Saved(0, (), ()),))))
    fits = a_claim("w", (Saved(0, (), (1,) * ((room + 1) // 2)),))
    await claims.save(unique, "j", fits, revision=0)
    assert await objects_of(provisioned, unique) == []
    assert await raw_claim(provisioned, unique, "j") == fits


async def test_only_the_newest_checkpoint_is_kept_and_none_of_a_settled_job(
    claims: Claims, provisioned: Connection, unique: str
) -> None:
    revision = 0
    for done in range(3):
        grown = a_claim("w", (*LARGE, Saved(16, (), (done,))))
        revision = await claims.save(unique, "j", grown, revision=revision)
        assert len(await objects_of(provisioned, unique)) == 1
    await claims.forget(unique, "j", revision)
    assert await objects_of(provisioned, unique) == []


async def test_the_heir_clears_up_after_the_dead(
    claims: Claims, provisioned: Connection, unique: str
) -> None:
    await claims.save(unique, "j", a_claim("dead"), revision=0)
    heir = Claims(provisioned)
    held = await heir.get(unique, "j")
    assert held is not None
    await heir.save(unique, "j", a_claim("heir", SMALL), revision=held.revision)
    assert await objects_of(provisioned, unique) == []


async def test_a_zombie_leaves_the_heirs_checkpoint_alone_and_none_of_its_own(
    claims: Claims, provisioned: Connection, unique: str
) -> None:
    revision = await claims.save(unique, "j", a_claim("zombie"), revision=0)
    heir = Claims(provisioned)
    await heir.get(unique, "j")
    await heir.save(unique, "j", a_claim("heir"), revision=revision)
    for saved in (LARGE, (*LARGE, *SMALL)):
        with pytest.raises(LeaseLost):
            await claims.save(unique, "j", a_claim("zombie", saved), revision=revision)
    assert len(await objects_of(provisioned, unique)) == 1
    held = await heir.get(unique, "j")
    assert held is not None
    assert held.claim == a_claim("heir")


async def damage(connection: Connection, tenant: str, how: str) -> None:
    (name,) = await objects_of(connection, tenant)
    store = Objects(connection)
    stat = await store.head(name)
    assert stat is not None
    match how:
        case "gone":
            await store.delete(name)
        case "other":
            await store.put(name, b"[[0,[],[%d]]]" % EDITED, etag=stat.etag)
        case _:
            await connection.api("STREAM.PURGE.OBJ_payloads", {"filter": "$O.payloads.C.>"})


@pytest.mark.parametrize("how", ["gone", "other", "torn"])
async def test_a_damaged_checkpoint_is_ignored_with_a_warning(
    claims: Claims,
    provisioned: Connection,
    unique: str,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    await claims.save(unique, "j", a_claim("w"), revision=0)
    await damage(provisioned, unique, how)
    with caplog.at_level(logging.WARNING):
        held = await claims.get(unique, "j")
    assert held is not None
    assert held.claim == a_claim("w", ()), "who owns it is known all the same"
    (record,) = caplog.records
    assert record.__dict__["job_id"] == "j"
    assert str(EDITED) not in str(record.__dict__)
    await claims.save(unique, "j", a_claim("w2", SMALL), revision=held.revision)


@pytest.mark.parametrize("writer", ["../other", "*", ">", "a/b", "x" * 500])
async def test_a_claim_that_names_no_checkpoint_of_its_job_has_none(
    claims: Claims, provisioned: Connection, unique: str, writer: str
) -> None:
    forged = msgspec.structs.replace(a_claim("w", ()), elsewhere=Elsewhere(writer, SHA))
    bucket = Bucket(provisioned, "claims", Claim, sealed=True)
    await bucket.put(claim_key(unique, "j"), forged)
    held = await claims.get(unique, "j")
    assert held is not None
    assert held.claim == a_claim("w", ())
    await claims.forget(unique, "j", held.revision)


async def test_without_room_in_the_store_the_claim_keeps_what_fits(
    claims: Claims, provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(self: Objects, key: str, data: bytes, *, etag: str | None = None) -> str:
        raise StoreRefused("the bucket has no room")

    monkeypatch.setattr(objects.Objects, "put", full)
    await claims.save(unique, "j", a_claim("w"), revision=0)
    held = await claims.get(unique, "j")
    assert held is not None
    assert held.claim is not None
    assert 0 < len(held.claim.saved) < len(LARGE)
