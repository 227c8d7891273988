"""JSON Schemas of what crosses the wire, made from the structs that decode it.

`python -m fleet.schema DIR` writes them; with `--check` it writes nothing and exits with 1 if a
file is missing or differs.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from fleet.body import CHAT, COMPLETIONS, EMBEDDINGS, ChatBody, CompletionBody, EmbeddingBody
from fleet.events import AnyEvent
from fleet.job import MAX_CUSTOM_ID, MAX_ITEMS, ResultLine, Source, TokenDelta
from fleet.node import Node

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
CustomId: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CUSTOM_ID)]


class _Line(msgspec.Struct, kw_only=True, tag_field="url"):
    custom_id: CustomId | None = None
    method: Literal["POST"] = "POST"


class ChatLine(_Line, kw_only=True, tag=CHAT):
    """A chat to be answered: a line of OpenAI's batch input."""

    body: ChatBody


class CompletionLine(_Line, kw_only=True, tag=COMPLETIONS):
    """A text to be completed: a line of OpenAI's batch input."""

    body: CompletionBody


class EmbeddingLine(_Line, kw_only=True, tag=EMBEDDINGS):
    """Texts to be embedded: a line of OpenAI's batch input."""

    body: EmbeddingBody


Line: TypeAlias = ChatLine | CompletionLine | EmbeddingLine


class Chunk(msgspec.Struct, kw_only=True):
    """Several requests in one job. A bad one gets an error result and hurts no other."""

    requests: Annotated[tuple[Line, ...], msgspec.Meta(min_length=1, max_length=MAX_ITEMS)]


class Elsewhere(msgspec.Struct, kw_only=True):
    """Requests that lie in a blob store: too many, or too large, for a message."""

    input: Source


# Each file: its title, and the types of which a message is one.
FILES: Final[Mapping[str, tuple[str, tuple[object, ...]]]] = {
    "job": (
        "Body of a job: one request, a chunk of them, or where they lie",
        (Line, Chunk, Elsewhere),
    ),
    "result": ("One line of a result message, which is JSON Lines", (ResultLine,)),
    "token": ("A piece of a live answer", (TokenDelta,)),
    "event": ("What happened in the fleet", (AnyEvent,)),
    "node": ("A node's heartbeat", (Node,)),
}


def schemas() -> dict[str, object]:
    """Make every schema, by file name."""
    return {f"{name}.json": _schema(*about) for name, about in FILES.items()}


def write(folder: Path) -> None:
    """Write every schema into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in _texts():
        (folder / name).write_text(text, encoding="utf-8")


def drift(folder: Path) -> list[str]:
    """Name the files in `folder` that are missing or not as the structs would have them."""
    return [
        name
        for name, text in _texts()
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text
    ]


def _texts() -> Iterable[tuple[str, str]]:
    for name, schema in schemas().items():
        yield name, msgspec.json.format(msgspec.json.encode(schema)).decode() + "\n"


def _schema(title: str, types: tuple[object, ...]) -> object:
    tops, parts = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    body = tops[0] if len(tops) == 1 else {"anyOf": list(tops)}
    return _plain({"$schema": DIALECT, "title": title, **body, "$defs": parts})


def _plain(value: object) -> object:
    """Leave out `discriminator`: OpenAPI's word, unknown to JSON Schema, another to AsyncAPI."""
    match value:
        case dict():
            return {name: _plain(part) for name, part in value.items() if name != "discriminator"}
        case list():
            return [_plain(part) for part in value]
        case _:
            return value


def main() -> None:
    """Write the schemas, or check them."""
    parser = argparse.ArgumentParser(prog="python -m fleet.schema", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if not args.check:
        write(args.folder)
    elif stale := drift(args.folder):
        sys.exit(f"{args.folder}: {', '.join(stale)} differ from the code: run `just schema`")


if __name__ == "__main__":
    main()
