"""The object store beside other clients, lost answers and hostile records."""

import hashlib
import os
from base64 import urlsafe_b64encode

import msgspec
import nats
import pytest

from fleet.broker.connection import Connection
from fleet.broker.objects import CHUNK_BYTES, Objects
from fleet.broker.stored import messages
from fleet.errors import BlobCorrupt, BlobMissing, BrokerUnreachable
from tests.integration.lossy import lose_answers

LIMIT = 8 * 1024 * 1024
DATA = os.urandom(3 * CHUNK_BYTES + 5)


@pytest.fixture
def store(provisioned: Connection) -> Objects:
    return Objects(provisioned)


@pytest.fixture
def key(unique: str) -> str:
    return f"{unique}/a"


async def record(connection: Connection, key: str, **fields: object) -> None:
    """Write what a foreign client may say of an object."""
    name = urlsafe_b64encode(key.encode()).decode()
    known = {"name": key, "bucket": "payloads", "nuid": "n", "size": 0, "chunks": 0, "digest": ""}
    await connection.append(
        f"$O.payloads.M.{name}",
        msgspec.json.encode(known | fields),
        headers={"Nats-Rollup": "sub"},
    )


async def chunks(connection: Connection) -> int:
    return len([one async for one in messages(connection, "OBJ_payloads", "$O.payloads.C.>")])


async def test_other_clients_read_what_we_write_and_we_what_they_do(
    store: Objects, nats_url: str, key: str
) -> None:
    client = await nats.connect(nats_url)
    try:
        theirs = await client.jetstream().object_store("payloads")
        await store.put(key, DATA)
        assert (await theirs.get(key)).data == DATA
        await theirs.put(f"{key}-2", DATA)
        found = await store.get(
            f"{key}-2", limit_bytes=LIMIT, sha256=hashlib.sha256(DATA).hexdigest()
        )
        assert found == DATA
        await theirs.delete(key)
        with pytest.raises(BlobMissing):
            await store.get(key, limit_bytes=LIMIT)
        await store.put(key, b"again")
        assert (await theirs.get(key)).data == b"again"
    finally:
        await client.close()


@pytest.mark.parametrize("lost", [1, 2])
async def test_lost_answers_leave_one_whole_object(
    store: Objects, provisioned: Connection, key: str, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    before = await chunks(provisioned)
    with monkeypatch.context() as patch:
        lose_answers(provisioned, patch, times=lost)
        await store.put(key, DATA)
    assert await store.get(key, limit_bytes=LIMIT) == DATA
    assert await chunks(provisioned) == before + 4


async def test_a_replaced_or_deleted_object_leaves_no_chunks(
    store: Objects, provisioned: Connection, key: str
) -> None:
    before = await chunks(provisioned)
    etag = await store.put(key, DATA)
    await store.put(key, b"small", etag=etag)
    assert await chunks(provisioned) == before + 1
    await store.delete(key)
    assert await chunks(provisioned) == before


async def test_a_link_leads_nowhere(store: Objects, provisioned: Connection, unique: str) -> None:
    await store.put(f"{unique}/theirs", DATA)
    link = {"link": {"bucket": "payloads", "name": f"{unique}/theirs"}}
    await record(provisioned, f"{unique}x/mine", options=link)
    with pytest.raises(BlobMissing):
        await store.get(f"{unique}x/mine", limit_bytes=LIMIT)


@pytest.mark.parametrize(
    "fields",
    [{"nuid": ">"}, {"nuid": "*"}, {"nuid": "a.b"}, {"nuid": ""}, {"size": -1}, {"size": "1"}],
)
async def test_a_hostile_record_is_no_object_and_removes_nobodys_chunks(
    store: Objects, provisioned: Connection, unique: str, fields: dict[str, object]
) -> None:
    await store.put(f"{unique}/victim", DATA)
    await record(provisioned, f"{unique}/evil", **fields)
    with pytest.raises(BlobMissing):
        await store.get(f"{unique}/evil", limit_bytes=LIMIT)
    await store.delete(f"{unique}/evil")
    assert await store.get(f"{unique}/victim", limit_bytes=LIMIT) == DATA


async def test_an_object_whose_oldest_chunks_expired_is_told_from_a_whole_one(
    store: Objects, provisioned: Connection, key: str
) -> None:
    await store.put(key, DATA)
    found = [one async for one in messages(provisioned, "OBJ_payloads", "$O.payloads.C.>")]
    await provisioned.api("STREAM.MSG.DELETE.OBJ_payloads", {"seq": found[-1].sequence})
    with pytest.raises(BlobCorrupt, match="expired"):
        await store.get(key, limit_bytes=LIMIT)


async def test_an_object_larger_than_its_record_says_is_not_read_to_its_end(
    store: Objects, provisioned: Connection, key: str
) -> None:
    nuid = key.partition("/")[0]
    for _ in range(40):
        await provisioned.append(f"$O.payloads.C.{nuid}", b"x" * CHUNK_BYTES)
    await record(provisioned, key, nuid=nuid, size=10, digest="SHA-256=")
    with pytest.raises(BlobCorrupt):
        await store.get(key, limit_bytes=100)


async def test_what_could_not_be_removed_is_not_said_to_be_gone(
    store: Objects, provisioned: Connection, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put(key, DATA)

    async def silent(*_: object) -> dict[str, object]:
        raise BrokerUnreachable("no answer: try again")

    with monkeypatch.context() as patch, pytest.raises(BrokerUnreachable):
        patch.setattr(provisioned, "api", silent)
        await store.delete(key)
    assert await store.get(key, limit_bytes=LIMIT) == DATA
