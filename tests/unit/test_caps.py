"""What a job may ask for: at the cap it is taken, one beyond it is refused, here and there."""

import json

import pytest

from fleet.caps import CAPS
from fleet.errors import JobRejected
from fleet.job import BadItem, Item, Job, Tier
from fleet.wire import decode_envelope, decode_job

TIERS = list(Tier)


def job_of(tier: Tier, value: object) -> Job:
    envelope = decode_envelope(f"jobs.{tier}.m.acme", {}, stream="S", sequence=1)
    return decode_job(envelope, json.dumps(value).encode())


def chat(**fields: object) -> dict[str, object]:
    body = {"messages": [{"role": "user", "content": "x"}], **fields}
    return {"url": "/v1/chat/completions", "body": body}


def code_of(tier: Tier, value: object) -> str | None:
    (item,) = job_of(tier, value).items
    return item.error.code if isinstance(item, BadItem) else None


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "min_tokens"])
def test_tokens_are_capped(tier: Tier, field: str) -> None:
    most = CAPS[tier].tokens
    assert code_of(tier, chat(**{field: most})) is None
    # Of the largest, the field's own type says no.
    assert code_of(tier, chat(**{field: most + 1})) in {"over_cap", "invalid_request"}


@pytest.mark.parametrize("tier", TIERS)
def test_choices_are_capped_over_all_prompts_together(tier: Tier) -> None:
    most = CAPS[tier].choices
    assert code_of(tier, chat(n=most)) is None
    assert code_of(tier, chat(n=most + 1)) in {"over_cap", "invalid_request"}
    texts = {"url": "/v1/completions", "body": {"prompt": ["x"] * (most // 2), "n": 2}}
    assert code_of(tier, texts) is None
    texts["body"] = {"prompt": ["x"] * (most // 2 + 1), "n": 2}
    assert code_of(tier, texts) in {"over_cap", "invalid_request"}


@pytest.mark.parametrize("tier", TIERS)
def test_requests_in_a_job_are_capped_wherever_they_lie(tier: Tier) -> None:
    most = CAPS[tier].items
    assert len(job_of(tier, {"requests": [chat()] * most}).items) == most
    with pytest.raises(JobRejected, match=f"1 to {most}"):
        job_of(tier, {"requests": [chat()] * (most + 1)})
    where = {"uri": "objects://payloads/acme/f", "sha256": "0" * 64, "first": 0}
    assert job_of(tier, {"input": {**where, "count": most}}).source
    with pytest.raises(JobRejected):
        job_of(tier, {"input": {**where, "count": most + 1}})


def test_a_refusal_says_how_much_is_too_much_and_where_more_is_taken() -> None:
    (item,) = job_of(Tier.REALTIME, chat(n=17)).items
    assert isinstance(item, BadItem)
    assert item.error.message.startswith("17 answers to a request are more than the 16")
    assert "batch" in item.error.message


def test_one_request_over_its_cap_does_not_hurt_the_others() -> None:
    items = job_of(Tier.REALTIME, {"requests": [chat(n=99), chat()]}).items
    assert [type(item) for item in items] == [BadItem, Item]
