"""Who may do what: each cell of the table is tried."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from fleet.broker.connection import Connection
from fleet.errors import BrokerRefused, BrokerUnreachable
from tests.integration.tenants.calls import Call
from tests.integration.tenants.table import TABLE, markdown
from tests.tenants import EVERYBODY

README = Path(__file__).parents[3] / "deploy" / "nats" / "README.md"
SEEDED = (
    "jobs.batch.m.acme", "results.acme._.job", "results.beta._.job", "tell.acme._.job",
    "dead.batch.m.acme", "$KV.claims.acme.job", "$KV.nodes.node", "$KV.policy.knobs.m",
    "$KV.batches.acme.batch", "events.node_started.node", "$O.payloads.C.part",
)  # fmt: skip


async def test_every_allowed_call_works_and_every_other_is_refused(
    everybody: Mapping[str, Connection],
) -> None:
    operator = everybody["@operator"]
    for subject in SEEDED:
        await operator.append(subject, b"{}")
    wrong = [
        f"{name} {'may not' if name in call.may else 'may'} {call.what}: {how}"
        for call in TABLE
        for name in EVERYBODY
        if (how := await outcome(call, name, everybody)) != ("" if name in call.may else "refused")
    ]
    assert not wrong, "\n".join(wrong)


async def outcome(call: Call, name: str, everybody: Mapping[str, Connection]) -> str:
    """Make a call: "" if it worked, `refused` if the broker said no, else what went wrong."""
    try:
        await call.make(everybody[name], everybody["@operator"])
    except BrokerRefused:
        return "refused"
    except (AssertionError, TimeoutError, BrokerUnreachable) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def test_the_documented_table_is_the_one_that_is_tried() -> None:
    assert markdown() in README.read_text()


def test_the_watchers_of_a_row_are_all_known() -> None:
    assert {name for call in TABLE for name in call.may} <= set(EVERYBODY)


@pytest.mark.parametrize("name", EVERYBODY)
def test_everybody_is_refused_something(name: str) -> None:
    assert any(name not in call.may for call in TABLE)
