"""Recordings of spot nodes: what is read from them, and what is refused."""

import json
from pathlib import Path

import pytest

from fleet.errors import UsageError
from fleet.pool.simulate.market import Market, cut, factor_for, scaled
from fleet.pool.simulate.traces import read

NEGATIVE_PRICE = (
    '{"metadata": {"gap_seconds": 300, "price_info": {"spot_per_gpu_hour": -1, '
    '"on_demand_per_gpu_hour": 1}}, "data": [1, 2]}'
)


def write(directory: Path, name: str, data: object, gap_s: object = 300, **more: object) -> None:
    recording = {"metadata": {"gap_seconds": gap_s, **more}, "data": data}
    (directory / f"{name}.json").write_text(json.dumps(recording))


def test_each_file_is_a_zone(tmp_path: Path) -> None:
    write(tmp_path, "zone-b", [0, 1])
    write(tmp_path, "zone-a", [2, 3])
    market = read(tmp_path)
    assert [(zone.zone, zone.counts) for zone in market.zones] == [
        ("zone-a", (2, 3)),
        ("zone-b", (0, 1)),
    ]
    assert market.horizon_s == 600


def test_without_prices_a_ratio_counts(tmp_path: Path) -> None:
    write(tmp_path, "zone-a", [1, 1])
    zone = read(tmp_path, price_ratio=4).zones[0]
    assert zone.price(1) == zone.on_demand_usd / 4


def test_recorded_prices_count_before_the_ratio(tmp_path: Path) -> None:
    info = {"spot_per_gpu_hour": 2.0, "on_demand_per_gpu_hour": 9.0}
    write(tmp_path, "zone-a", [1, 1], zone="real-name", price_info=info)
    zone = read(tmp_path, price_ratio=4).zones[0]
    assert (zone.zone, zone.price(0), zone.on_demand_usd) == ("real-name", 2.0, 9.0)


def test_a_price_file_counts_before_all_others(tmp_path: Path) -> None:
    write(tmp_path, "zone-a", [1, 1, 1])
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"zone-a": [0.1, 0.2, 0.3]}))
    zone = read(tmp_path, prices=prices, on_demand_usd=1.0).zones[0]
    assert [zone.price(tick) for tick in range(3)] == [0.1, 0.2, 0.3]


def test_recordings_are_cut_to_the_shortest_and_that_is_said(tmp_path: Path) -> None:
    write(tmp_path, "zone-a", [1] * 5)
    write(tmp_path, "zone-b", [1] * 3)
    market = read(tmp_path)
    assert market.ticks == 3
    assert any("shortest" in note for note in market.notes)


def test_a_coarse_recording_is_put_on_the_ticks_of_the_finest(tmp_path: Path) -> None:
    write(tmp_path, "zone-a", [1, 2, 3, 4], gap_s=300)
    write(tmp_path, "zone-b", [5, 6], gap_s=600)
    assert read(tmp_path).zones[1].counts == (5, 5, 6, 6)


def test_the_last_count_stands_where_none_was_measured_and_that_is_said(tmp_path: Path) -> None:
    write(tmp_path, "zone-a", [None, 2, None, None, 1])
    market = read(tmp_path)
    assert market.zones[0].counts == (0, 2, 2, 2, 1)
    assert any("3 ticks without" in note for note in market.notes)


def test_a_gap_that_the_recording_admits_is_said(tmp_path: Path) -> None:
    write(tmp_path, "zone-a", [1, 1], recording_gap_after_tick=[0])
    assert any("gap" in note for note in read(tmp_path).notes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        "[" * 100_000,
        '{"data": [1, 2]}',
        '{"metadata": {"gap_seconds": 300}}',
        '{"metadata": {"gap_seconds": 300}, "data": [1, "2"]}',
        '{"metadata": {"gap_seconds": 300}, "data": [1, 1.5]}',
        '{"metadata": {"gap_seconds": 300}, "data": [1, -1]}',
        '{"metadata": {"gap_seconds": 300}, "data": [1, 99999999]}',
        '{"metadata": {"gap_seconds": 300}, "data": [1]}',
        '{"metadata": {"gap_seconds": 0}, "data": [1, 2]}',
        '{"metadata": {"gap_seconds": -5}, "data": [1, 2]}',
        '{"metadata": {"gap_seconds": 1e12}, "data": [1, 2]}',
        '{"metadata": {"gap_seconds": NaN}, "data": [1, 2]}',
        NEGATIVE_PRICE,
        "\udcff",
    ],
)
def test_what_is_no_recording_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "zone-a.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=r"zone-a\.json"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("series", "words"),
    [
        ({}, "nothing about zone-a"),
        ({"zone-a": [1.0]}, "1 prices"),
        ({"zone-a": [1.0, 0.0]}, "none"),
    ],
)
def test_prices_that_do_not_fit_are_refused(
    tmp_path: Path, series: dict[str, list[float]], words: str
) -> None:
    write(tmp_path, "zone-a", [1, 1])
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps(series))
    if not series:
        prices.write_text('{"other": [1.0, 1.0]}')
    with pytest.raises(UsageError, match=words):
        read(tmp_path, prices=prices, on_demand_usd=1.0)


def test_spot_prices_without_an_on_demand_price_say_nothing(tmp_path: Path) -> None:
    write(tmp_path, "zone-a", [1, 1])
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"zone-a": [1.0, 1.0]}))
    with pytest.raises(UsageError, match="on-demand"):
        read(tmp_path, prices=prices)


def test_two_recordings_of_one_zone_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "one", [1, 1], zone="same")
    write(tmp_path, "two", [1, 1], zone="same")
    with pytest.raises(UsageError, match="same"):
        read(tmp_path)


def test_a_directory_without_recordings_names_those_below_it(tmp_path: Path) -> None:
    below = tmp_path / "set" / "inner"
    below.mkdir(parents=True)
    write(below, "zone-a", [1, 1])
    with pytest.raises(UsageError, match="inner"):
        read(tmp_path)
    with pytest.raises(UsageError, match="no such directory"):
        read(tmp_path / "absent")


def market_of(tmp_path: Path) -> Market:
    write(tmp_path, "zone-a", [0, 1, 2, 3])
    write(tmp_path, "zone-b", [1, 1, 1, 1])
    return read(tmp_path)


def test_a_market_is_cut_by_time(tmp_path: Path) -> None:
    part = cut(market_of(tmp_path), from_s=300, for_s=600)
    assert [zone.counts for zone in part.zones] == [(1, 2), (1, 1)]


def test_a_cut_behind_the_end_leaves_the_last_tick(tmp_path: Path) -> None:
    assert cut(market_of(tmp_path), from_s=1e9).ticks == 1


def test_a_small_recording_is_scaled_until_twice_the_wanted_spot_is_there(tmp_path: Path) -> None:
    market = market_of(tmp_path)
    factor = factor_for(market, most_spot=18)
    assert factor == 9  # of 3 + 1 nodes at best, for 36
    assert scaled(market, factor).zones[0].counts == (0, 9, 18, 27)
    assert factor_for(market, most_spot=1) == 1
