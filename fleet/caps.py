"""How much one job of a tier may ask for: whoever asks for more takes it from all others."""

from collections.abc import Mapping
from typing import Final

import msgspec

from fleet.body import MAX_CHOICES, Body, CompletionBody, EmbeddingBody
from fleet.errors import JobRejected
from fleet.job import MAX_ITEMS, Tier


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """items: requests in a job. tokens: of one answer. choices: answers to one request."""

    items: int
    tokens: int
    choices: int


CAPS: Final[Mapping[Tier, Caps]] = {
    # Somebody waits, and everybody else behind them.
    Tier.REALTIME: Caps(items=64, tokens=32_768, choices=16),
    Tier.BACKGROUND: Caps(items=MAX_ITEMS, tokens=131_072, choices=64),
    Tier.BATCH: Caps(items=MAX_ITEMS, tokens=1_000_000, choices=MAX_CHOICES),
}


def check_items(count: int, tier: Tier) -> None:
    """Raise JobRejected for a job of more requests than its tier takes, or of none."""
    most = CAPS[tier].items
    if not 1 <= count <= most:
        raise JobRejected(
            f"`requests` holds {count} requests; a job of the tier {tier} holds 1 to {most}",
            code="invalid_request",
        )


def check_body(body: Body, tier: Tier) -> None:
    """Raise JobRejected for a request that asks for more than its tier gives."""
    if isinstance(body, EmbeddingBody):
        return
    caps = CAPS[tier]
    prompts = len(body.texts) or 1 if isinstance(body, CompletionBody) else 1
    for name, asked, most in (
        ("tokens in an answer", max(body.limit or 0, body.min_tokens), caps.tokens),
        ("answers to a request", body.n * prompts, caps.choices),
    ):
        if asked > most:
            raise JobRejected(
                f"{asked} {name} are more than the {most} of the tier {tier}: ask for fewer, or "
                "send it to the tier batch",
                code="over_cap",
            )
