"""What a fleet does when nobody can take a job, or an operator took its queue away."""

from pathlib import Path

from tests.asking import MODEL, Asker, answer_to, chat, chunk, eventually, text_of
from tests.fleets import QUICK, running_fleet
from tests.integration import cli
from tests.integration.brokers import connected

TIERS = ("realtime", "background", "batch")


async def test_queues_that_were_deleted_are_missed_and_go_on_when_they_are_made_again(
    tmp_path: Path, unique: str
) -> None:
    with running_fleet(tmp_path, "--spot", "1") as fleet:
        async with connected(fleet.nats) as connection:
            asker = Asker(connection, unique)
            for tier in TIERS:
                await connection.api(f"CONSUMER.DELETE.JOBS_{tier.upper()}.{tier}_{MODEL}")
            for tier in TIERS:
                await asker.publish(tier, chat(tier), headers={"Fleet-Job-Id": tier})

            async def complains() -> bool:
                said = "".join(fleet.logs().values())
                return said.count("a durable is missing: run `fleet init`") >= len(TIERS)

            await eventually(complains, "the consumers to say what is missing")
            ran = await cli.fleet(fleet.nats, "doctor", "--model", MODEL)
            assert ran.code == 1
            assert f"batch_{MODEL}: missing, and 1 jobs wait" in ran.out
            ran = await cli.fleet(fleet.nats, "init", "--model", MODEL)
            assert ran.code == 0, ran.err
            for tier in TIERS:
                (line,) = await asker.lines(tier)
                assert text_of(line) == answer_to(tier)


async def test_a_realtime_job_without_an_on_demand_consumer_is_told_so_soon_after_its_deadline(
    tmp_path: Path, unique: str
) -> None:
    env = {**QUICK, "FLEET_REALTIME_DEADLINE_S": "2"}
    with running_fleet(tmp_path, "--on-demand", "0", "--spot", "1", env=env) as fleet:
        async with connected(fleet.nats) as connection:
            asker = Asker(connection, unique)
            job = chunk([chat("a"), chat("b")])
            await asker.publish("realtime", job, headers={"Fleet-Job-Id": "j"})
            lines = await asker.lines("j")
            assert [line.error and line.error.code for line in lines] == ["expired"] * 2
            assert {line.fleet.node for line in lines} == {"sweep"}
