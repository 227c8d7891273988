"""Schemas that nobody can afford to compile are refused before the engine sees them."""

import json

import pytest

from consumers.vllm_schema import check_schema, repeats
from fleet.errors import JobRejected

MEASURED_TO_TAKE_MINUTES = [
    "(.{1,22}){1,22}",
    "(.{1,32}){1,32}(.{1,32}){1,32}",
    "(.*){1,32}" * 8,
    "((((.{1,4}){1,4}){1,4}){1,4}){1,2}",
    "(((((((.{0,2}){0,2}){0,2}){0,2}){0,2}){0,2}){0,2}){0,2}",
    "|".join(f"a{n}b{{1,999}}" for n in range(20)),
]
IN_DAILY_USE = [
    r"^\d{4}-\d{2}-\d{2}$",
    r"^(\d{1,3}\.){3}\d{1,3}$",
    "^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$",
    r"^[\w.+-]+@[\w-]+(\.[\w-]+)+$",
    "^([a-z]+)(,[a-z]+)*$",
    r"^\+?\d{7,15}$",
]


def text(pattern: str) -> str:
    return json.dumps({"type": "string", "pattern": pattern})


@pytest.mark.parametrize("pattern", MEASURED_TO_TAKE_MINUTES)
def test_a_pattern_that_would_compile_for_minutes_is_refused(pattern: str) -> None:
    with pytest.raises(JobRejected, match="pattern") as refused:
        check_schema(text(pattern))
    assert refused.value.code == "invalid_schema"


@pytest.mark.parametrize("pattern", IN_DAILY_USE)
def test_a_pattern_in_daily_use_passes(pattern: str) -> None:
    check_schema(text(pattern))


@pytest.mark.parametrize(
    ("pattern", "counted"),
    [
        ("abc", (0, 1)),
        ("a{3}", (3, 1)),
        ("(a{3}){4}", (12, 12)),
        ("(ab{2}c{3}){2}", (10, 6)),
        (r"\{9}[{9}](", (0, 1)),
        (")){2}", (2, 1)),
        ("a{2,}", (2, 1)),
    ],
)
def test_counted_repetitions_multiply_where_they_nest(
    pattern: str, counted: tuple[int, int]
) -> None:
    assert repeats(pattern) == counted


@pytest.mark.parametrize(
    "schema",
    [
        "[",
        "[]",
        "5",
        '{"maxItems": 1000000000}',
        '{"maxItems": 1e9}',
        '{"properties": {"a": {"items": {"maxLength": 100000}}}}',
        json.dumps({"patternProperties": {"(.{1,22}){1,22}": {}}}),
        json.dumps({"anyOf": [{"pattern": "a"}] * 33}),
        json.dumps({"enum": ["x" * 40_000]}),
        '{"a":' * 5_000 + "1" + "}" * 5_000,
    ],
)
def test_what_is_no_schema_or_far_too_much_of_one_is_refused(schema: str) -> None:
    with pytest.raises(JobRejected, match="JSON schema"):
        check_schema(schema)


def test_a_property_may_be_called_pattern() -> None:
    check_schema('{"properties": {"pattern": {"type": "string"}, "maxLength": {"maxLength": 9}}}')
