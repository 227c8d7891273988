"""The grammar of names on the wire, and every name that is built from parts.

All keys and subjects are made here, so a hostile id can reach none of them: whatever enters a
name has passed `token` or `identifier` first.
"""

import re
from typing import NamedTuple

from fleet.errors import JobRejected
from fleet.job import TIERS, Tier

# Lower case keeps a token usable in durable names, KV keys, S3 keys and DNS labels alike.
TOKEN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
# Ids come from foreign clients: NUIDs, UUIDs and `JOBS_BATCH-17` all fit.
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
NO_BATCH = "_"

RESULTS, TOKENS, EVENTS, DEAD, ADVISORIES = "RESULTS", "TOKENS", "EVENTS", "DEAD", "ADVISORIES"
CLAIMS, NODES, BATCHES, POLICY = "claims", "nodes", "batches", "policy"
CANCELS = "cancels"
PAYLOADS = "payloads"
PRIORITY_GROUP = "g"


class JobSubject(NamedTuple):
    """The four parts of `jobs.<tier>.<model>.<tenant>`."""

    tier: Tier
    model: str
    tenant: str


def token(text: str, *, what: str) -> str:
    """Return `text` if it is a valid subject token, else raise JobRejected naming `what`."""
    if not TOKEN.fullmatch(text):
        raise JobRejected(
            f"{what} {shown(text)} is not a name: use 1 to 63 of a-z, 0-9, '_' and '-', "
            "beginning with a letter or digit",
            code="invalid_name",
        )
    return text


def identifier(text: str, *, what: str) -> str:
    """Return `text` if it may name a job or a batch, else raise JobRejected naming `what`."""
    if not IDENTIFIER.fullmatch(text):
        raise JobRejected(
            f"{what} {shown(text)} is not an id: use 1 to 64 of A-Z, a-z, 0-9, '_' and '-', "
            "beginning with a letter or digit",
            code="invalid_id",
        )
    return text


def shown(text: str, *, limit: int = 80) -> str:
    """Quote foreign text for a message: control characters escaped, length capped."""
    cut = text if len(text) <= limit else text[:limit] + "..."
    return ascii(cut)


def plain(text: str, *, limit: int = 400) -> str:
    """Make a message that quotes foreign text fit to show: escaped, and cut in its middle."""
    half = limit // 2
    cut = text if len(text) <= limit else f"{text[:half]}...{text[-half:]}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def job_stream(tier: Tier) -> str:
    """Name the stream of a tier: `JOBS_BATCH`."""
    return f"JOBS_{tier.upper()}"


JOB_STREAMS = frozenset(job_stream(tier) for tier in Tier)


def durable(tier: Tier, model: str) -> str:
    """Name the durable of a tier and model: `batch_smollm2`."""
    return f"{tier}_{model}"


def tier_of(text: str) -> Tier:
    """Return the tier of that name. Raises JobRejected."""
    if text not in TIERS:
        raise JobRejected(
            f"tier {shown(text)} does not exist: use {', '.join(TIERS)}", code="unknown_tier"
        )
    return Tier(text)


def job_subject(tier: Tier, model: str, tenant: str) -> str:
    """Build the subject on which a job is published."""
    return f"jobs.{tier}.{token(model, what='model')}.{token(tenant, what='tenant')}"


def parse_job_subject(subject: str) -> JobSubject:
    """Take a job's subject apart; a literal wildcard can be stored, so every part is checked."""
    parts = subject.split(".")
    if len(parts) != 4 or parts[0] != "jobs":
        raise JobRejected(
            f"subject {shown(subject)} is not jobs.<tier>.<model>.<tenant>", code="invalid_subject"
        )
    _, tier, model, tenant = parts
    return JobSubject(tier_of(tier), token(model, what="model"), token(tenant, what="tenant"))


def results_subject(tenant: str, batch: str | None, job: str) -> str:
    """Name the result log of one job."""
    return f"results.{tenant}.{batch or NO_BATCH}.{job}"


def tokens_subject(tenant: str, batch: str | None, job: str) -> str:
    """Name the token stream of one job: where it is read."""
    return f"tokens.{tenant}.{batch or NO_BATCH}.{job}"


def tell_subject(tenant: str, batch: str | None, job: str) -> str:
    """Name where a consumer writes to the token stream of one job.

    What the stream takes is stored, and told to listeners, under the other name.
    """
    return f"tell.{tenant}.{batch or NO_BATCH}.{job}"


def dead_subject(tier: str, model: str, tenant: str) -> str:
    """Name where a dead letter goes; parts that are no tokens become `_`."""
    safe = (part if TOKEN.fullmatch(part) else NO_BATCH for part in (tier, model, tenant))
    return "dead." + ".".join(safe)


def event_subject(kind: str, node: str) -> str:
    """Name where an event goes: `events.<kind>.<node>`."""
    return f"events.{kind}.{node if TOKEN.fullmatch(node) else NO_BATCH}"


# Where a broker that `fleet up` runs takes orders; of the other names each is a node's.
BROKER = "broker"


def control_subject(node: str) -> str:
    """Name where a node takes orders: `control.<node>`. Raises JobRejected."""
    return f"control.{token(node, what='node')}"


def claim_key(tenant: str, job: str) -> str:
    """Name a job's claim in the bucket `claims`."""
    return f"{tenant}.{job}"


def cancel_key(tenant: str, job: str) -> str:
    """Name the mark of a cancelled job in the bucket `cancels`."""
    return f"{tenant}.{job}"


def batch_key(tenant: str, batch: str) -> str:
    """Name a batch's manifest in the bucket `batches`."""
    return f"{tenant}.{batch}"
