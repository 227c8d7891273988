"""The schemas that other languages read say what our decoder does."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from fleet.events import NodeReady
from fleet.job import FleetInfo, ResultLine, TokenDelta, WireError
from fleet.node import Node
from fleet.schema import drift, schemas, write

FOLDER = Path(__file__).parents[2] / "docs" / "schema"
PROMPT = {"url": "/v1/completions", "body": {"prompt": "hi", "max_tokens": 4}}
CHAT = {
    "url": "/v1/chat/completions",
    "body": {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
}
EMBED = {"url": "/v1/embeddings", "body": {"input": ["a", "b"]}}
INPUT = {"uri": "objects://payloads/acme/a", "sha256": "0" * 64, "first": 0, "count": 1}
INFO = FleetInfo(job="j", item=0, items=1, node="n", capacity_type="spot")


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((FOLDER / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def without(value: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: inner for key, inner in value.items() if key != name}


def test_the_files_are_what_the_structs_say() -> None:
    assert drift(FOLDER) == [], "run `just schema`"
    assert {path.name for path in FOLDER.iterdir()} == set(schemas())


def test_a_changed_or_missing_file_is_seen(tmp_path: Path) -> None:
    write(tmp_path)
    assert drift(tmp_path) == []
    (tmp_path / "job.json").write_text("{}\n")
    (tmp_path / "node.json").unlink()
    assert drift(tmp_path) == ["job.json", "node.json"]


@pytest.mark.parametrize(
    "job",
    [PROMPT, CHAT, EMBED, PROMPT | {"custom_id": "a", "method": "POST"}, PROMPT | {"more": 1},
     {"requests": [PROMPT, CHAT, EMBED]}, {"input": INPUT}],
)  # fmt: skip
def test_a_good_job_passes(job: dict[str, Any]) -> None:
    validator("job").validate(job)


@pytest.mark.parametrize(
    "job",
    [
        {},
        {"requests": []},
        {"requests": [{}]},
        without(PROMPT, "url"),
        without(PROMPT, "body"),
        PROMPT | {"url": "/v1/images"},
        PROMPT | {"method": "GET"},
        PROMPT | {"body": {"prompt": "hi", "temprature": 0}},
        PROMPT | {"body": {"prompt": "hi", "max_tokens": 0}},
        CHAT | {"body": {"messages": []}},
        CHAT | {"body": {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}},
        EMBED | {"body": {"input": []}},
        {"input": INPUT | {"count": 0}},
        {"input": INPUT | {"sha256": "0"}},
        {"input": without(INPUT, "first")},
    ],
)
def test_a_wrong_job_is_refused(job: dict[str, Any]) -> None:
    assert not validator("job").is_valid(job)


WRITTEN = {
    "result": ResultLine(id="j-0", custom_id=None, error=WireError("code", "text"), fleet=INFO),
    "token": TokenDelta(item=0, offset=0, text="a", token_ids=(1,)),
    "event": NodeReady(at=1.0, node="n", load_s=2.0),
    "node": Node(
        node="n", pid=1, host="h", capacity_type="spot", zone="", model="m", engine="scripted",
        state="ready", started_at=1.0, at=2.0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_what_we_write_passes_and_a_part_of_it_does_not(name: str) -> None:
    value = msgspec.json.decode(msgspec.json.encode(WRITTEN[name]))
    check = validator(name)
    check.validate(value)
    assert not check.is_valid({})
    required = {"result": "fleet", "token": "offset", "event": "event", "node": "state"}[name]
    assert not check.is_valid(without(value, required))
