"""Recorded markets: one JSON file a zone, as the public collections of spot traces have them.

`{"metadata": {"gap_seconds": S}, "data": [n, n, ...]}`: how many of the nodes asked for were to be
had at each tick. Prices stand in the metadata (`price_info`), or in a file beside, tick for tick.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from fleet.errors import UsageError
from fleet.pool.simulate.market import Market, ZoneTrace

T = TypeVar("T")
MOST_BYTES: Final = 64 << 20
MOST_ZONES: Final = 200
MOST_NODES: Final = 1_000_000
# Nobody has recorded for longer, and nobody waits for the work of more.
MOST_S: Final = 10 * 366 * 86_400.0
# Where a recording has no prices: a node-hour on demand is the unit.
UNIT_USD: Final = 1.0


class PriceInfo(msgspec.Struct, frozen=True):
    """Prices of one GPU for an hour, the same for the whole recording."""

    spot_per_gpu_hour: float
    on_demand_per_gpu_hour: float


class Metadata(msgspec.Struct, frozen=True):
    """What we use of the metadata. recording_gap_after_tick: nobody looked for a while."""

    gap_seconds: float
    zone: str | None = None
    recording_gap_after_tick: list[int] = []
    price_info: PriceInfo | None = None


class Recording(msgspec.Struct, frozen=True):
    """One file. None in the data is a tick at which nothing was measured."""

    metadata: Metadata
    data: list[int | None]


def read(
    directory: Path,
    *,
    prices: Path | None = None,
    price_ratio: float = 2.5,
    on_demand_usd: float | None = None,
) -> Market:
    """Read a directory of recordings, one file a zone, as one market.

    prices: a file with a price for each tick, by name of recording. price_ratio: on-demand price by
    spot price, where none is recorded. on_demand_usd: price of a node-hour, instead of what is
    recorded. All are cut to the shortest, and put on the ticks of the finest. Raises UsageError,
    which names the file, for what is not there or is no recording.
    """
    files = _files(directory, prices)
    recordings = {file.stem: _decode(file, Recording) for file in files}
    for name, recording in recordings.items():
        _check(directory / f"{name}.json", recording)
    series = _decode(prices, dict[str, list[float]]) if prices else {}
    gap_s = min(one.metadata.gap_seconds for one in recordings.values())
    notes: list[str] = []
    ticks = _ticks(recordings, gap_s, notes)
    if gapped := sum(bool(one.metadata.recording_gap_after_tick) for one in recordings.values()):
        notes.append(f"the recordings of {gapped} zones have gaps, which are not filled")
    zones = [
        _zone(name, one, series, _Frame(gap_s, ticks, price_ratio, on_demand_usd), notes)
        for name, one in recordings.items()
    ]
    for twice in sorted(
        {zone.zone for zone in zones if sum(z.zone == zone.zone for z in zones) > 1}
    ):
        raise UsageError(f"{directory}: two files are about zone {twice}: keep one file a zone")
    return Market(name=directory.name, gap_s=gap_s, zones=tuple(zones), notes=tuple(notes))


class _Frame(msgspec.Struct, frozen=True):
    """What all zones of a market share."""

    gap_s: float
    ticks: int
    price_ratio: float
    on_demand_usd: float | None


def _files(directory: Path, prices: Path | None) -> Sequence[Path]:
    if not directory.is_dir():
        raise UsageError(f"{directory}: no such directory; --traces names one with a file a zone")
    files = sorted(file for file in directory.glob("*.json") if file != prices)
    if not files:
        below = sorted({str(file.parent) for file in directory.glob("*/**/*.json")})
        hint = f"; there are some in {', '.join(below[:5])}" if below else ""
        raise UsageError(f"{directory}: no JSON files in it{hint}")
    if len(files) > MOST_ZONES:
        raise UsageError(
            f"{directory}: {len(files)} files, and at most {MOST_ZONES} zones are read"
        )
    return files


def _decode(file: Path, kind: type[T]) -> T:
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise UsageError(f"{file}: {size >> 20} MiB are too many for a recording")
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            f"{file}: no recording of spot nodes ({error}); it has to look like "
            '{"metadata": {"gap_seconds": 300}, "data": [1, 0, 2]}'
        ) from error


def _check(file: Path, recording: Recording) -> None:
    """Refuse numbers that no market can have."""
    gap_s = recording.metadata.gap_seconds
    if not (math.isfinite(gap_s) and gap_s >= 1):
        raise UsageError(f"{file}: gap_seconds is {gap_s}, and a tick lasts a second at least")
    if len(recording.data) < 2:
        raise UsageError(f"{file}: {len(recording.data)} ticks are no recording")
    if gap_s * len(recording.data) > MOST_S:
        raise UsageError(
            f"{file}: {len(recording.data)} ticks of {gap_s:g} s are more than ten years: give "
            "gap_seconds in seconds, or a part of the recording"
        )
    for tick, count in enumerate(recording.data):
        if count is not None and not 0 <= count <= MOST_NODES:
            raise UsageError(
                f"{file}: {count} nodes at tick {tick}: neither negative nor a million"
            )
    info = recording.metadata.price_info
    if info and not (_is_price(info.spot_per_gpu_hour) and _is_price(info.on_demand_per_gpu_hour)):
        raise UsageError(f"{file}: price_info has a price that is none; remove it to use a ratio")


def _is_price(usd: float) -> bool:
    return math.isfinite(usd) and usd > 0


def _ticks(recordings: Mapping[str, Recording], gap_s: float, notes: list[str]) -> int:
    """Return the number of ticks that all have."""
    lasts = [int(len(one.data) * one.metadata.gap_seconds / gap_s) for one in recordings.values()]
    ticks, longest = min(lasts), max(lasts)
    if ticks < longest:
        days = (longest - ticks) * gap_s / 86_400
        notes.append(f"cut to the shortest recording: {days:.1f} days of the longest are left out")
    return ticks


def _zone(
    name: str,
    recording: Recording,
    series: Mapping[str, list[float]],
    frame: _Frame,
    notes: list[str],
) -> ZoneTrace:
    meta = recording.metadata
    zone = meta.zone or name
    filled = _filled(zone, recording.data, notes)
    # Ticks of a coarse recording are repeated on those of the finest.
    at = [int(tick * frame.gap_s / meta.gap_seconds) for tick in range(frame.ticks)]
    info = meta.price_info
    on_demand_usd = frame.on_demand_usd or (info.on_demand_per_gpu_hour if info else UNIT_USD)
    spot_usd: tuple[float, ...] = (on_demand_usd / frame.price_ratio,)
    if series:
        if not (info or frame.on_demand_usd):
            raise UsageError(f"{name}: say what on-demand nodes cost, to go with the spot prices")
        spot_usd = _spot_series(name, series, at)
    elif info:
        spot_usd = (info.spot_per_gpu_hour,)
    counts = tuple(filled[tick] for tick in at)
    return ZoneTrace(zone=zone, counts=counts, spot_usd=spot_usd, on_demand_usd=on_demand_usd)


def _filled(zone: str, data: Sequence[int | None], notes: list[str]) -> list[int]:
    """Let the last count stand where none was measured."""
    filled: list[int] = []
    last = 0
    for count in data:
        last = last if count is None else count
        filled.append(last)
    if missing := sum(count is None for count in data):
        notes.append(f"{zone}: {missing} ticks without a measurement: the last count stands")
    return filled


def _spot_series(
    name: str, series: Mapping[str, list[float]], at: Sequence[int]
) -> tuple[float, ...]:
    if name not in series:
        known = ", ".join(sorted(series)[:5])
        raise UsageError(f"the price file has nothing about {name}; it knows {known}")
    found = series[name]
    if len(found) <= max(at):
        raise UsageError(
            f"the price file has {len(found)} prices of {name}, and {max(at) + 1} ticks"
        )
    if not all(map(_is_price, found)):
        raise UsageError(f"the price file has a price of {name} that is none: zero, or no number")
    return tuple(found[tick] for tick in at)
