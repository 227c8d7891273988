"""JSON schemas that are too costly to be turned into a grammar. Pure.

A grammar is compiled once for the whole engine, and no compilation can be stopped. Measured with
xgrammar: a pattern of forty characters such as `(.{1,22}){1,22}` compiles for minutes, and every
other structured answer waits behind it. So what may be slow is refused before the engine sees it.
"""

import re
from collections.abc import Iterator

import msgspec

from fleet.errors import JobRejected

MAX_CHARS = 32_768
MAX_LENGTH = 4096
MAX_PATTERN_CHARS = 256
# Repetitions of one pattern, nested ones multiplied; and the most that nested ones may make.
MAX_REPEATS = 64
MAX_NESTED = 16
MAX_PATTERNS = 32

_LENGTHS = frozenset(
    {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}
)
# What a pattern is made of: an escape, a class, a group's ends, a counted repetition, or another.
_PIECE = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\(|\)|\{(\d+)(?:,(\d*))?\}|.", re.DOTALL)


def check_schema(text: str) -> None:
    """Raise JobRejected for a schema that is no JSON object or may take too long to compile."""
    if len(text) > MAX_CHARS:
        raise _bad(f"has {len(text)} characters, over the limit of {MAX_CHARS}: use a smaller one")
    try:
        schema = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _bad(f"is not valid JSON: {error}") from error
    if not isinstance(schema, dict):
        raise _bad("is no JSON object: send one such as {'type': 'object'}")
    patterns = 0
    for name, value in _entries(schema):
        if name in _LENGTHS and isinstance(value, int | float) and value > MAX_LENGTH:
            raise _bad(f"says {name} {value}, over the limit of {MAX_LENGTH}: leave it out")
        for pattern in _patterns(name, value):
            patterns += 1
            _check_pattern(pattern)
    if patterns > MAX_PATTERNS:
        raise _bad(f"has {patterns} patterns, over the limit of {MAX_PATTERNS}: use fewer")


def repeats(pattern: str) -> tuple[int, int]:
    """Count repetitions: of the whole pattern, and the most that nested ones make together.

    Only counted ones count; an unbounded one compiles into a loop and costs little.
    """
    # A level for each open group: repetitions in it so far, and the largest product among them.
    levels = [(0, 1)]
    piece = (0, 1)
    nested = 1
    for found in _PIECE.finditer(pattern):
        match found[0]:
            case "(":
                levels.append((0, 1))
                piece = (0, 1)
            case ")" if len(levels) > 1:
                inner = levels.pop()
                outer = levels[-1]
                levels[-1] = (outer[0] + inner[0], max(outer[1], inner[1]))
                piece = inner
            case counted if found[1]:
                times = max(int(found[1]), int(found[2] or 0))
                total, product = piece
                more = total * (times - 1) if total else times
                if product > 1:
                    nested = max(nested, product * times)
                piece = (total + more, product * times)
                level = levels[-1]
                levels[-1] = (level[0] + more, max(level[1], product * times))
                del counted
            case _:
                piece = (0, 1)
    return sum(total for total, _ in levels), nested


def _check_pattern(pattern: str) -> None:
    if len(pattern) > MAX_PATTERN_CHARS:
        raise _bad(f"has a pattern of {len(pattern)} characters: {MAX_PATTERN_CHARS} are the limit")
    total, nested = repeats(pattern)
    if total > MAX_REPEATS or nested > MAX_NESTED:
        raise _bad(
            f"has a pattern that repeats {max(total, nested)} times, over the limit of "
            f"{MAX_REPEATS} and {MAX_NESTED} for nested ones: use * or + instead of counts"
        )


def _entries(schema: dict[str, object]) -> Iterator[tuple[str, object]]:
    """Walk a schema without recursion, for it may be nested as deep as JSON can be."""
    stack: list[object] = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield from node.items()
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def _patterns(name: str, value: object) -> Iterator[str]:
    if name == "pattern" and isinstance(value, str):
        yield value
    if name == "patternProperties" and isinstance(value, dict):
        yield from value


def _bad(what: str) -> JobRejected:
    return JobRejected(f"the JSON schema in `response_format` {what}", code="invalid_schema")
