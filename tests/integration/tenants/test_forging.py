"""A sender names where the server's answer goes, and the server sends it past all permissions.

Inside one account that forges anything. Across accounts it has to forge nothing.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from fleet.broker.connection import ApiError, Connection, connect
from fleet.broker.context import find_target
from fleet.broker.provision import provision
from fleet.errors import BrokerRefused
from fleet.topology import STREAMS
from tests.asking import eventually
from tests.server import nats_server
from tests.tenants import stored

FORGED = (
    "results.beta._.forged", "$KV.nodes.forged", "$KV.claims.beta.forged", "$KV.policy.paused.m",
    "$KV.batches.beta.forged", "$KV.cancels.beta.forged", "jobs.realtime.m.beta",
    "jobs.batch.m.beta", "tell.beta._.forged", "dead.batch.m.beta", "events.node_started.forged",
    "$O.payloads.C.forged", "$JS.API.STREAM.PURGE.RESULTS", "$JS.API.STREAM.DELETE.RESULTS",
    "reads.RESULTS.beta",
)  # fmt: skip
# What a tenant may send, and what a watcher may: none of it is stored but the jobs themselves.
SENT_BY_TENANT = (
    "jobs.batch.m", "jobs.batch.m.acme", "$JS.API.DIRECT.GET.RESULTS.results.acme._.job",
    "$JS.API.DIRECT.GET.RESULTS", "$JS.API.DIRECT.GET.KV_batches.$KV.batches.acme.one",
)  # fmt: skip
SENT_BY_WATCHER = (
    "$JS.API.INFO", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.RESULTS",
    "$JS.API.CONSUMER.INFO.JOBS_BATCH.batch_m", "$JS.API.DIRECT.GET.KV_nodes",
    "$JS.API.DIRECT.GET.KV_nodes.$KV.nodes.node",
)  # fmt: skip


async def counts(operator: Connection) -> dict[str, int]:
    """Count what every stream holds; `jobs.batch` apart, for that grows by honest jobs."""
    return {one.name: await stored(operator, one.name) for one in STREAMS}


async def test_inside_one_account_a_sender_of_jobs_forges_results(tmp_path: Path) -> None:
    """The hole is there: without this, the tests below would prove nothing."""
    allowed = '["jobs.*.*.acme", "$JS.API.>"]'
    config = f"""
        accounts {{ ONE {{ jetstream: enabled, users: [
            {{ user: operator, password: a }}
            {{ user: acme, password: a, permissions: {{ publish: {{ allow: {allowed} }} }} }}
        ] }} }}"""
    with nats_server(tmp_path, config=config) as server:
        where = server.url.removeprefix("nats://")
        operator_at, acme_at = (
            find_target(f"nats://{user}:a@{where}", {}) for user in ("operator", "acme")
        )
        async with (
            connect(operator_at, name="operator") as operator,
            connect(acme_at, name="acme") as acme,
        ):
            await provision(operator, ["m"])
            with pytest.raises(BrokerRefused, match="forbidden"):
                await acme.append("results.beta._.forged", b"{}")
            await acme.publish("jobs.batch.m.acme", b"{}", reply="results.beta._.forged")

            async def forged() -> bool:
                return await stored(operator, "RESULTS") == 1

            await eventually(forged, "the forged result")


async def test_across_accounts_a_tenant_forges_nothing(
    everybody: Mapping[str, Connection],
) -> None:
    operator, acme = everybody["@operator"], everybody["acme"]
    await operator.append("$KV.batches.acme.one", b"{}")
    await operator.append("results.acme._.job", b"{}")
    before = await counts(operator)
    for subject in SENT_BY_TENANT:
        for reply in FORGED:
            await acme.publish(subject, b"{}", reply=reply)
    # Behind the others on the same connection, so they have been dealt with.
    await acme.append("jobs.batch.m", b"{}")
    await acme.request("$JS.API.DIRECT.GET.RESULTS", b"{}")
    after = await counts(operator)
    assert after.pop("JOBS_BATCH") - before.pop("JOBS_BATCH") == 2 * len(FORGED) + 1
    assert after == before


@pytest.mark.parametrize("watcher", ["@dashboard", "@metrics"])
async def test_a_watcher_changes_nothing_by_naming_where_answers_go(
    everybody: Mapping[str, Connection], watcher: str
) -> None:
    operator, watching = everybody["@operator"], everybody[watcher]
    await operator.append("$KV.nodes.node", b"{}")
    before = await counts(operator)
    for subject in SENT_BY_WATCHER:
        for reply in FORGED:
            await watching.publish(subject, b"", reply=reply)
    await watching.api("INFO")
    assert await counts(operator) == before


async def test_a_tenants_rollup_takes_nobody_elses_batches(
    everybody: Mapping[str, Connection],
) -> None:
    for bucket in ("batches", "cancels"):
        await everybody["beta"].append(f"$KV.{bucket}.beta.mine", b"{}")
        before = await stored(everybody["@operator"], f"KV_{bucket}")
        for scope in ("all", "sub"):
            with pytest.raises(ApiError, match="rollup not permitted"):
                await everybody["acme"].append(
                    f"$KV.{bucket}.acme.mine", b"{}", headers={"Nats-Rollup": scope}
                )
        assert await stored(everybody["@operator"], f"KV_{bucket}") == before


async def test_a_job_bears_its_senders_name_whatever_the_sender_says(
    everybody: Mapping[str, Connection],
) -> None:
    receipt = await everybody["acme"].append(
        "jobs.batch.m", b"{}", headers={"Nats-Subject": "jobs.batch.m.beta"}
    )
    body = {"seq": receipt.sequence}
    reply = await everybody["@operator"].api("STREAM.MSG.GET.JOBS_BATCH", body)
    assert reply["message"]["subject"] == "jobs.batch.m.acme"
    with pytest.raises(BrokerRefused, match="forbidden"):
        await everybody["acme"].append("jobs.batch.m.beta", b"{}")


@pytest.mark.parametrize(
    "headers",
    [
        {"Nats-Rollup": "all"},
        {"Nats-Rollup": "sub"},
        {"Nats-TTL": "1s"},
        {"Nats-Incr": "1"},
        {"Nats-Schedule": "@every 1s", "Nats-Schedule-Target": "jobs.batch.m.beta"},
        {"Nats-Expected-Stream": "RESULTS"},
        {"Nats-Expected-Last-Sequence": "0"},
    ],
    ids=str,
)
async def test_no_header_of_a_job_does_more_than_store_it(
    everybody: Mapping[str, Connection], headers: dict[str, str]
) -> None:
    await everybody["beta"].append("jobs.batch.m", b"{}")
    before = await counts(everybody["@operator"])
    with pytest.raises(ApiError):
        await everybody["acme"].append("jobs.batch.m", b"{}", headers=headers)
    assert await counts(everybody["@operator"]) == before
