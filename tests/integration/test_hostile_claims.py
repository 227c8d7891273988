"""Checkpoints that nobody in his right mind wrote: ignored with a warning, and the answer right."""

import hashlib
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from consumers.scripted_engine import CONTEXT_TOKENS, token
from fleet.broker.kv import Bucket
from fleet.broker.results import ResultLog
from fleet.claim import Claim, Saved
from fleet.subjects import CLAIMS, claim_key
from fleet.topology import bucket_subject
from tests.asking import Asker, answer_to, chat, chunk, text_of
from tests.fleets import RunningFleet, running_fleet
from tests.integration.brokers import connected

PROMPTS = ["one", "two"]
BODY = msgspec.json.encode(chunk([chat(prompt, 6, temperature=0) for prompt in PROMPTS]))
SHA = hashlib.sha256(BODY).hexdigest()
PROMPT = b"user: one"
GOOD = Saved(0, tuple(PROMPT), tuple(token(PROMPT, n) for n in range(3)))


def claim_of(*saved: Saved, **more: object) -> msgspec.Raw:
    """A claim that its owner released."""
    claim = Claim(owner=None, writer="w", sha256=SHA, saved=saved)
    return msgspec.Raw(msgspec.json.encode(msgspec.to_builtins(claim) | more))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with running_fleet(folder, "--on-demand", "0", "--spot", "1") as running:
        yield running
        assert running.gone() == [], running.log()


@pytest.fixture
async def asker(fleet: RunningFleet, unique: str) -> AsyncIterator[Asker]:
    async with connected(fleet.nats) as connection:
        yield Asker(connection, unique)


async def began(asker: Asker) -> None:
    """Leave in the result log what a consumer leaves that took the job over and died."""
    await ResultLog(asker.connection).take_over(
        asker.tenant, None, "job", last=0, sha256=SHA, writer="w", node="gone"
    )


async def resumed(asker: Asker) -> list[str]:
    """Publish the job, check its answers, and return how each item went on."""
    await asker.publish("batch", BODY, headers={"Fleet-Job-Id": "job"})
    lines = await asker.lines("job")
    assert [text_of(line) for line in lines] == [answer_to(prompt, 6) for prompt in PROMPTS]
    return [line.fleet.resumed for line in lines]


async def test_a_sound_checkpoint_is_gone_on_from(asker: Asker) -> None:
    await began(asker)
    await seal(asker, claim_of(GOOD))
    assert await resumed(asker) == ["exact", "no"]


@pytest.mark.parametrize(
    "claim",
    [
        claim_of(Saved(9, GOOD.prompt_ids, GOOD.done_ids)),
        claim_of(Saved(-1, GOOD.prompt_ids, GOOD.done_ids)),
        claim_of(Saved(0, (), GOOD.done_ids)),
        claim_of(Saved(0, (0x110000,) * CONTEXT_TOKENS, (7,))),
        claim_of(Saved(0, GOOD.prompt_ids, (2**40,))),
        claim_of(Saved(0, GOOD.prompt_ids, (-1,))),
        claim_of(Saved(0, GOOD.prompt_ids, GOOD.done_ids * 9)),
        claim_of(GOOD, Saved(0, GOOD.prompt_ids, (300,))),
        claim_of(version=2),
        claim_of(saved="nonsense"),
        claim_of(saved=[[0, [1, "2"], []]]),
        msgspec.Raw(b"null"),
        msgspec.Raw(bytes(claim_of(GOOD))[:-9]),
        claim_of(trying=99, blamed=[-5, -5, 99, 99]),
        claim_of(owner="no name"),
        claim_of(owner=">"),
        claim_of(owner="node\n"),
        claim_of(trace="no trace"),
        claim_of(history=[[1e300, "gone", "silent"]]),
        claim_of(suspects=-(2**60)),
        claim_of(interruptions=2**80),
    ],
)
async def test_nonsense_is_ignored_and_the_answer_is_right(
    asker: Asker, claim: msgspec.Raw
) -> None:
    await began(asker)
    await seal(asker, claim)
    assert not {"exact", "continued"} & set(await resumed(asker))


async def test_a_checkpoint_that_was_edited_by_hand_is_ignored(asker: Asker) -> None:
    await began(asker)
    wrong = claim_of(Saved(0, GOOD.prompt_ids, (*GOOD.done_ids[:2], token(PROMPT, 4))))
    key = claim_key(asker.tenant, "job")
    await asker.connection.append(bucket_subject(CLAIMS, key), bytes(wrong))
    assert not {"exact", "continued"} & set(await resumed(asker))


async def seal(asker: Asker, claim: msgspec.Raw) -> None:
    """Write a claim with the seal of a consumer."""
    bucket = Bucket(asker.connection, CLAIMS, msgspec.Raw, sealed=True)
    await bucket.put(claim_key(asker.tenant, "job"), claim)
