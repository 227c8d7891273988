"""Claims: fenced, found again, and readable whatever lies in the bucket."""

import logging
import time

import msgspec
import pytest

from fleet.broker.claims import Claims, fitted
from fleet.broker.connection import Connection
from fleet.broker.kv import SEAL, Bucket, seal_of
from fleet.claim import Claim, Saved
from fleet.errors import LeaseLost
from fleet.topology import bucket_subject
from tests.integration.lossy import lose_answers

SHA = "0" * 64
# A token that no time stamp, hash or number of a process holds by chance.
EDITED = 98_765_432_109_876_543


def a_claim(writer: str, *, owner: str | None = "node-1", saved: tuple[Saved, ...] = ()) -> Claim:
    return Claim(owner=owner, writer=writer, sha256=SHA, saved=saved)


@pytest.fixture
def claims(provisioned: Connection) -> Claims:
    return Claims(provisioned)


async def test_a_job_without_a_claim_is_none(claims: Claims, unique: str) -> None:
    assert await claims.get("acme", unique) is None


async def test_a_claim_is_read_back_with_its_age(claims: Claims, unique: str) -> None:
    claim = a_claim("w1", saved=(Saved(0, (1, 2), (3,)),))
    revision = await claims.save("acme", unique, claim, revision=0)
    held = await claims.get("acme", unique)
    assert held is not None
    assert (held.claim, held.revision) == (claim, revision)
    assert 0 <= held.age_s < 60


async def test_a_stale_claim_is_refused(claims: Claims, unique: str) -> None:
    first = await claims.save("acme", unique, a_claim("zombie"), revision=0)
    await claims.save("acme", unique, a_claim("heir", owner="node-2"), revision=first)
    with pytest.raises(LeaseLost):
        await claims.save("acme", unique, a_claim("zombie"), revision=first)
    with pytest.raises(LeaseLost):
        await claims.forget("acme", unique, first)
    held = await claims.get("acme", unique)
    assert held is not None
    assert held.claim == a_claim("heir", owner="node-2")


async def test_two_consumers_cannot_both_begin(claims: Claims, unique: str) -> None:
    await claims.save("acme", unique, a_claim("one"), revision=0)
    with pytest.raises(LeaseLost):
        await claims.save("acme", unique, a_claim("two"), revision=0)


async def test_a_claim_whose_answer_was_lost_is_known_by_its_writer(
    claims: Claims, provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answers(provisioned, monkeypatch, times=1)
    revision = await claims.save("acme", unique, a_claim("mine"), revision=0)
    assert await claims.save("acme", unique, a_claim("mine"), revision=0) == revision
    with pytest.raises(LeaseLost):
        await claims.save("acme", unique, a_claim("other"), revision=0)


async def test_a_settled_jobs_claim_is_gone_and_may_begin_anew(claims: Claims, unique: str) -> None:
    revision = await claims.save("acme", unique, a_claim("w"), revision=0)
    await claims.forget("acme", unique, revision)
    assert await claims.get("acme", unique) is None
    await claims.save("acme", unique, a_claim("w2"), revision=0)


@pytest.mark.parametrize(
    "stored",
    [b"", b"null", b"[" * 9999, b"\xff\xfe", b'{"owner":1}', msgspec.json.encode({"version": 2})],
)
@pytest.mark.parametrize("sealed", [True, False])
async def test_what_cannot_be_read_is_written_over(
    claims: Claims, provisioned: Connection, unique: str, stored: bytes, sealed: bool
) -> None:
    seal = {SEAL: seal_of(stored)} if sealed else {}
    await provisioned.append(bucket_subject("claims", f"acme.{unique}"), stored, headers=seal)
    held = await claims.get("acme", unique)
    assert held is not None
    assert held.claim is None
    await claims.save("acme", unique, a_claim("w"), revision=held.revision)


async def test_a_claim_of_a_later_version_is_not_guessed_at(
    claims: Claims, provisioned: Connection, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    later = msgspec.structs.replace(a_claim("w"), version=2)
    await Bucket(provisioned, "claims", Claim, sealed=True).put(f"acme.{unique}", later)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            held = await claims.get("acme", unique)
            assert held is not None
            assert held.claim is None
    assert len(caplog.records) == 1


async def test_a_claim_that_was_edited_by_hand_is_ignored_with_a_warning(
    claims: Claims, provisioned: Connection, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    revision = await claims.save("acme", unique, a_claim("w"), revision=0)
    edited = msgspec.json.encode(a_claim("w", saved=(Saved(0, (7,), (EDITED,)),)))
    await provisioned.append(bucket_subject("claims", f"acme.{unique}"), edited)
    with caplog.at_level(logging.WARNING):
        held = await claims.get("acme", unique)
    assert held is not None
    assert (held.claim, held.revision > revision) == (None, True)
    (record,) = caplog.records
    assert record.__dict__["job_id"] == unique
    assert str(EDITED) not in record.getMessage() + record.__dict__["cause"]


async def test_a_claim_with_fields_of_a_later_version_is_read_without_them(
    claims: Claims, provisioned: Connection, unique: str
) -> None:
    claim = a_claim("w", saved=(Saved(0, (1, 2), (3,)),))
    grown = msgspec.to_builtins(claim) | {"hints": {"a": [1]}}
    raw = Bucket(provisioned, "claims", msgspec.Raw, sealed=True)
    await raw.put(f"acme.{unique}", msgspec.Raw(msgspec.json.encode(grown)))
    held = await claims.get("acme", unique)
    assert held is not None
    assert held.claim == claim


@pytest.mark.parametrize("shift_s", [3600.0, -3600.0])
async def test_a_claims_age_does_not_depend_on_this_nodes_clock(
    claims: Claims, unique: str, monkeypatch: pytest.MonkeyPatch, shift_s: float
) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + shift_s)
    await claims.save("acme", unique, a_claim("w"), revision=0)
    held = await claims.get("acme", unique)
    assert held is not None
    assert 0 <= held.age_s < 60


def test_a_claim_that_is_too_large_keeps_what_costs_most_to_repeat() -> None:
    saved = tuple(Saved(index, (7,) * 50, (9,) * done) for index, done in enumerate((10, 90, 50)))
    claim = a_claim("w", saved=saved)
    size = len(msgspec.json.encode(claim))
    assert fitted(claim, limit_bytes=size) == claim
    fit = fitted(claim, limit_bytes=size - 1)
    assert [item.index for item in fit.saved] == [1, 2]
    assert len(msgspec.json.encode(fit)) < size
    assert fitted(claim, limit_bytes=10).saved == ()
