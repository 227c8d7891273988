"""The arithmetic of docs/scale.md comes out, and its constants are those of the code."""

import re
from pathlib import Path

import pytest

from fleet import topology
from fleet.batch_file import DEFAULT_CHUNK
from fleet.pool.knobs import Tuning
from fleet.settings import Settings

# Where a line of it ends means nothing.
TEXT = " ".join((Path(__file__).parents[2] / "docs" / "scale.md").read_text().split())
NUMBER = r"\d[\d,]*(?:\.\d+)?"
SUM = re.compile(rf"({NUMBER}(?: [x/+] {NUMBER})+) = ({NUMBER})")
# What is rounded to two digits may be that far off.
TOLERANCE = 0.05


def value(text: str) -> float:
    """Compute products and quotients from left to right, then the sum of them."""
    return sum(map(product, text.split(" + ")))


def product(text: str) -> float:
    first, *rest = re.split(r" ([x/]) ", text)
    result = plain(first)
    for sign, number in zip(rest[::2], rest[1::2], strict=True):
        result = result * plain(number) if sign == "x" else result / plain(number)
    return result


def plain(number: str) -> float:
    return float(number.replace(",", ""))


@pytest.mark.parametrize("found", SUM.finditer(TEXT), ids=lambda found: found[0])
def test_a_sum_comes_out(found: re.Match[str]) -> None:
    assert value(found[1]) == pytest.approx(plain(found[2]), rel=TOLERANCE)


def test_there_are_sums_to_check() -> None:
    assert len(SUM.findall(TEXT)) > 20


def test_constants_are_those_of_the_code() -> None:
    settings, tuning = Settings(), Tuning()
    for said in (
        f"`max_waiting` {topology.MAX_WAITING:,}",
        f"`RESULTS` keeps {topology.RESULTS_AGE_S / topology.DAY_S:.0f} days",
        f"`EVENTS` at {topology.EVENTS_BYTES // 2**20} MiB",
        f"{topology.BATCH_QUEUE:,} jobs of one model and tenant",
        f"`launches_per_tick` {tuning.launches_per_tick}",
        f"`FLEET_CHECKPOINT_S` {settings.checkpoint_s:.0f}",
        f"`FLEET_BEAT_S` {settings.beat_s:.0f}",
        f"{DEFAULT_CHUNK} requests a job",
        f"every {settings.checkpoint_items} items",
    ):
        assert said in TEXT, said
