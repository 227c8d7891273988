"""What was found, said to a person, a script, a Nagios plug-in host, or Prometheus. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias, assert_never

import msgspec

from dashboard.findings import Finding, Level
from dashboard.safe import safe

Form: TypeAlias = Literal["text", "json", "nagios", "prometheus"]
# As monitoring plug-ins number them.
NUMBERS: Final[dict[Level, int]] = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
_ORDER: Final[tuple[Level, ...]] = ("critical", "warning", "unknown", "ok")
_MOST: Final = 400
_UNITS: Final = {"": "", "s": "s", "usd": ""}


class Said(msgspec.Struct, frozen=True):
    """The JSON form."""

    level: Level
    findings: Sequence[Finding]


def said(found: Sequence[Finding], level: Level, form: Form) -> str:
    """Write all of it, without an end of line."""
    match form:
        case "text":
            return "\n".join(_text(found, level))
        case "json":
            return msgspec.json.encode(Said(level, found)).decode()
        case "nagios":
            return "\n".join(_nagios(found, level))
        case "prometheus":
            return "\n".join(_prometheus(found, level))
    assert_never(form)


def _text(found: Sequence[Finding], level: Level) -> Iterable[str]:
    yield f"{level}: {_summary(found)}"
    for one in _by_level(found):
        yield f"  {one.level:<8}  {one.name:<15}  {safe(one.text, most=_MOST)}"


def _nagios(found: Sequence[Finding], level: Level) -> Iterable[str]:
    """Write the line of state and performance data, and long text behind it."""
    measured = " ".join(
        f"{one.name}={one.value:g}{_UNITS[one.unit]}" for one in found if one.value is not None
    )
    yield f"OVERBOOK {level.upper()} - {_barless(_summary(found))} | {measured}"
    for one in _by_level(found):
        yield f"{one.level.upper()} {one.name}: {_barless(safe(one.text, most=_MOST))}"


def _prometheus(found: Sequence[Finding], level: Level) -> Iterable[str]:
    """Write what a textfile collector takes; names of checks are ours, so no label is foreign."""
    yield "# HELP fleet_check_level What was found: 0 ok, 1 warning, 2 critical, 3 unknown."
    yield "# TYPE fleet_check_level gauge"
    yield f'fleet_check_level{{check="all"}} {NUMBERS[level]}'
    for one in found:
        yield f'fleet_check_level{{check="{one.name}"}} {NUMBERS[one.level]}'
    yield "# HELP fleet_check_value The number behind a finding, in base units."
    yield "# TYPE fleet_check_value gauge"
    for one in found:
        if one.value is not None:
            yield f'fleet_check_value{{check="{one.name}"}} {one.value:g}'


def _summary(found: Sequence[Finding]) -> str:
    """Say what is bad; where nothing is, how many nodes are ready."""
    bad = [one for one in _by_level(found) if one.level != "ok"]
    if not bad:
        bad = [one for one in found if one.name == "nodes_ready"]
    # What could not be read is the text of each finding that rests on it.
    return "; ".join(dict.fromkeys(safe(one.text, most=_MOST) for one in bad))


def _by_level(found: Sequence[Finding]) -> list[Finding]:
    return sorted(found, key=lambda one: _ORDER.index(one.level))


def _barless(text: str) -> str:
    """Take out what begins performance data."""
    return text.replace("|", "/")
