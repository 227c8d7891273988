"""A consumer whose event loop hangs for a while keeps what it holds."""

from pathlib import Path

import pytest

from tests.asking import Asker, chat, chunk
from tests.fleets import QUICK, running_fleet
from tests.integration.brokers import connected

ACK_WAIT_S = float(QUICK["FLEET_ACK_WAIT_S"])


@pytest.mark.parametrize("block_s", [2.5 * ACK_WAIT_S, pytest.param(60.0, marks=pytest.mark.soak)])
async def test_no_lease_is_lost_while_the_event_loop_is_blocked(
    tmp_path: Path, unique: str, block_s: float
) -> None:
    # Two consumers: a lease that lapsed would be seen at once, for the other one waits for work.
    env = {**QUICK, "FLEET_FAULTS": f"generate.after=block:{block_s:g}@1"}
    flags = ("--on-demand", "0", "--spot", "2", "--token-rate", "50")
    with running_fleet(tmp_path, *flags, env=env) as fleet:
        async with connected(fleet.nats) as connection:
            asker = Asker(connection, unique)
            job = chunk([chat("first", max_tokens=10), chat("second", max_tokens=200)])
            await asker.publish("batch", job, headers={"Fleet-Job-Id": "job"})
            lines = await asker.lines("job", bound_s=block_s + 30)
            assert {line.fleet.interruptions for line in lines} == {0}
            assert len({line.fleet.node for line in lines}) == 1
            info = await connection.api("CONSUMER.INFO.JOBS_BATCH.batch_smollm2")
            assert info["num_redelivered"] == 0
