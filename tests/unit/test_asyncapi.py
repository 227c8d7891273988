"""docs/asyncapi.yaml agrees with the code and with its own standard."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from fleet import subjects, wire
from fleet.broker import dead
from fleet.broker.log_state import CLAIM_RECORD
from fleet.job import TIERS, Tier
from fleet.renew import REQUEUED_FROM
from tests.tools import missing, requires_tool

FILE = Path(__file__).parents[2] / "docs" / "asyncapi.yaml"
DOCUMENT = yaml.safe_load(FILE.read_text())
MESSAGES = DOCUMENT["components"]["messages"]
CHECK = """
const { Parser } = require('@asyncapi/parser');
const fs = require('fs');
new Parser().parse(fs.readFileSync(process.argv[2], 'utf8'), { source: process.argv[2] })
  .then(({ diagnostics }) => {
    const errors = diagnostics.filter((d) => d.severity === 0);
    console.log(JSON.stringify(errors, null, 1));
    process.exit(errors.length ? 1 : 0);
  });
"""


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_reference_leads_somewhere() -> None:
    for target in references(DOCUMENT):
        file, _, inside = target.partition("#")
        if file:
            assert (FILE.parent / file).is_file(), target
        value = DOCUMENT
        for part in inside.strip("/").split("/") if inside else ():
            value = value[part]


def test_addresses_are_the_subjects_that_the_code_makes() -> None:
    made = {
        "jobs": subjects.job_subject(Tier.BATCH, "model", "tenant"),
        "results": subjects.results_subject("tenant", "batch", "job"),
        "tokens": subjects.tokens_subject("tenant", "batch", "job"),
        "tell": subjects.tell_subject("tenant", "batch", "job"),
        "events": subjects.event_subject("kind", "node"),
        "dead": subjects.dead_subject("tier", "model", "tenant"),
    }
    filled = {
        name: re.sub(r"{(\w+)}", r"\1", channel["address"])
        for name, channel in DOCUMENT["channels"].items()
    }
    assert filled == made | {"jobs": "jobs.tier.model.tenant"}
    for channel in DOCUMENT["channels"].values():
        assert set(re.findall(r"{(\w+)}", channel["address"])) == set(channel["parameters"])


def test_tiers_and_headers_are_the_ones_of_the_code() -> None:
    assert DOCUMENT["components"]["parameters"]["tier"]["enum"] == list(TIERS)
    headers = {name: set(message.get("headers", {}).get("properties", ()))
               for name, message in MESSAGES.items()}  # fmt: skip
    assert headers["job"] == {
        wire.JOB_ID, wire.MSG_ID, wire.DEADLINE, wire.BATCH, wire.TRACEPARENT, REQUEUED_FROM
    }  # fmt: skip
    assert headers["result"] == {wire.SHA256, wire.WRITER, wire.TRACEPARENT}
    assert headers["claim"] == {wire.RECORD}
    assert headers["token"] == {wire.WRITER}
    assert MESSAGES["claim"]["headers"]["properties"][wire.RECORD]["const"] == CLAIM_RECORD
    assert headers["deadLetter"] == {
        dead.REASON, dead.CODE, dead.SUBJECT, dead.STREAM, dead.SEQUENCE, dead.HEADERS,
        dead.HISTORY, dead.OMITTED, wire.JOB_ID,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["job", "result", "token", "event"])
def test_examples_pass_the_schema_they_illustrate(name: str) -> None:
    message = MESSAGES[name]
    schema = json.loads((FILE.parent / message["payload"]["$ref"]).read_text())
    for example in message["examples"]:
        Draft202012Validator(schema).validate(example["payload"])


@pytest.mark.node
@pytest.mark.timeout(300)
def test_the_document_is_valid_asyncapi(tmp_path: Path) -> None:
    node, npm = requires_tool("node"), requires_tool("npm")
    install = subprocess.run(
        [npm, "install", "--silent", "--no-audit", "--no-fund", "@asyncapi/parser@3"],
        cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    if install.returncode:
        missing(f"npm cannot install @asyncapi/parser: {install.stderr.strip()[-300:]}")
    (tmp_path / "check.js").write_text(CHECK)
    check = subprocess.run(
        [node, "check.js", str(FILE)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert check.returncode == 0, check.stdout + check.stderr
