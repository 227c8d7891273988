"""Every example in docs/examples does what it says, against a fleet that is up."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consumers.scripted_engine import answer
from fleet.job import ChatBody, Message, Response, ResultLine, Tier, WireError
from fleet.subjects import RESULTS, job_subject, results_subject
from fleet.wire import JOB_ID, RECORD
from tests.asking import MODEL, answer_to
from tests.fleets import ROOT, RunningFleet, running_fleet
from tests.server import nats_server
from tests.tools import missing, requires_tool

EXAMPLES = ROOT / "docs" / "examples"
DATA = EXAMPLES / "data"
RUN_S = 120
INSTALL_S = 200
CLIENT = "@nats-io/transport-node@3.4.0"
TOKENS = 32
# What a scripted answer may come to: a token that ends in a zero.
END = "0 "


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    with running_fleet(tmp_path_factory.mktemp("fleet"), "--spot", "1") as running:
        yield running


class Example:
    """Runs programs as a user of this fleet does, in a folder of their own."""

    def __init__(self, fleet: RunningFleet, folder: Path) -> None:
        self._url = fleet.nats
        self.folder = folder

    def run(self, *command: object, stdin: str = "", code: int = 0, path: str = "") -> str:
        """Run a command to its end, check its exit code, and return its stdout."""
        environment = {**os.environ, "FLEET_NATS": self._url, "NATS_URL": self._url}
        environment["PATH"] = f"{path}{os.pathsep}{os.environ['PATH']}"
        environment["PYTHONPATH"] = str(ROOT)
        words = list(map(str, command))
        ran = subprocess.run(
            words, input=stdin, capture_output=True, text=True, timeout=RUN_S, check=False,
            cwd=self.folder, env=environment,
        )  # fmt: skip
        assert ran.returncode == code, f"{words} ended with {ran.returncode}: {ran.stderr}"
        return ran.stdout

    def python(self, script: str, *flags: object, **options: Any) -> str:
        return self.run(sys.executable, EXAMPLES / script, *flags, **options)


@pytest.fixture
def nats(tmp_path: Path) -> str:
    """The folder of a stand-in for the `nats` command line."""
    program = tmp_path / "nats"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.integration.nats_cli "$@"\n')
    program.chmod(0o755)
    return str(tmp_path)


@pytest.fixture
def example(fleet: RunningFleet, tmp_path: Path) -> Example:
    return Example(fleet, tmp_path)


def test_the_shell_producer_prints_the_result_of_its_job(
    example: Example, unique: str, nats: str
) -> None:
    question = r'Is "\" a slash, and {{.}} a template?'
    said = example.run(EXAMPLES / "producer.sh", MODEL, unique, question, path=nats)
    line = json.loads(said)
    text = line["response"]["body"]["choices"][0]["message"]["content"]
    assert text == answer_to(question, TOKENS)


def test_the_shell_producer_waits_for_no_job_without_a_receipt(
    example: Example, nats: str, tmp_path: Path
) -> None:
    with nats_server(tmp_path / "bare") as bare:
        words = ("sh", "-c", f"NATS_URL={bare.url} exec {EXAMPLES / 'producer.sh'}")
        assert example.run(*words, path=nats, code=5) == ""


def test_the_python_producer_prints_a_live_answer_and_three_of_a_batch(
    example: Example, fleet: RunningFleet
) -> None:
    said = example.python("producer.py", fleet.nats, MODEL)
    capitals = [f"What is the capital of {country}?" for country in ("France", "Japan", "Peru")]
    questions = ["Why is the sky blue?", *capitals]
    assert said.splitlines() == [answer_to(question, TOKENS) for question in questions]


@pytest.mark.node
def test_the_javascript_producer_prints_an_answer_for_each_question(
    example: Example, fleet: RunningFleet, unique: str
) -> None:
    script = shutil.copy(EXAMPLES / "producer.mjs", node_folder())
    said = example.run(requires_tool("node"), script, fleet.nats, MODEL, unique, "one", "two")
    assert said.splitlines() == [answer_to("one", TOKENS), answer_to("two", TOKENS)]


def test_the_go_producer_names_the_subjects_and_headers_that_we_do() -> None:
    # No test runs it: its text is held against the words of ours that it has to use.
    text = (EXAMPLES / "producer.go").read_text()
    jobs = job_subject(Tier.BATCH, "m", "t").replace(".m.t", ".%s.%s")
    results = results_subject("t", None, "j").replace(".t.", ".%s.").replace(".j", ".%s")
    assert f'"{jobs}"' in text
    assert f'"$JS.API.DIRECT.GET.{RESULTS}.{results}"' in text
    assert set(re.findall(r'Header\.(?:Set|Get)\("(Fleet-[^"]+)"', text)) == {JOB_ID, RECORD}
    tags = set(re.findall(r'json:"(\w+)"', text))
    known = {
        *ResultLine.__struct_fields__,
        *Response.__struct_fields__,
        *ChatBody.__struct_fields__,
    }
    known |= {*Message.__struct_fields__, *WireError.__struct_fields__, "url", "choices", "message"}
    assert tags <= known


def test_long_texts_are_summarised_piece_by_piece(example: Example) -> None:
    texts = example.folder / "texts"
    shutil.copytree(DATA / "documents", texts)
    paragraph = "The sea rises and falls. " * 100
    (texts / "long.txt").write_text("\n\n".join([paragraph] * 5))
    said = example.python("summarise.py", texts, "out.jsonl")
    assert said.startswith("4 of 4 documents")
    found = {line["document"]: line["summary"] for line in lines(example.folder / "out.jsonl")}
    system = "system: You summarise texts. Answer with three sentences and nothing else."
    short = answer(f"{system}\nuser: {(texts / 'bread.txt').read_text()}", 160)
    assert found["bread"] == short
    two = answer(f"{system}\nuser: {paragraph}\n\n{paragraph}", 160)
    one = answer(f"{system}\nuser: {paragraph}", 160)
    joined = f"{two}\n\n{two}\n\n{one}"
    assert found["long"] == answer(f"{system}\nuser: {joined}", 160)


def test_the_closest_text_to_a_question_is_found_by_vectors(example: Example) -> None:
    question = "A worn chain ruins the sprockets."
    said = example.python("embed.py", DATA / "corpus.jsonl", "out.jsonl", "--find", question)
    assert said.splitlines()[1] == f"1.000  chain: {question}"
    vectors = lines(example.folder / "out.jsonl")
    assert [one["id"] for one in vectors] == [one["id"] for one in lines(DATA / "corpus.jsonl")]


def test_texts_and_questions_without_a_vector_end_with_an_exit_code(example: Example) -> None:
    corpus, too_long = example.folder / "corpus.jsonl", "word " * 14_000
    corpus.write_text(json.dumps({"id": "long", "text": too_long}) + "\n")
    said = example.python("embed.py", corpus, "out.jsonl", code=1)
    assert said == "0 of 1 texts have a vector in out.jsonl\n"
    example.python("embed.py", corpus, "out.jsonl", "--find", too_long, code=1)


def test_an_evaluation_counts_what_is_right_and_is_a_gate(example: Example) -> None:
    system = "system: Answer with a single word or number."
    asked = lines(DATA / "questions.jsonl")
    for record in asked[:3]:
        record["answer"] = answer(f"{system}\nuser: {record['question']}", 8).upper()
    file = example.folder / "questions.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in asked))
    flags = ("evaluate.py", file, "--at-least", "0.6", "--wrong", "wrong.jsonl")
    assert json.loads(example.python(*flags, code=1)) == {
        "model": MODEL, "questions": 6, "right": 3, "unanswered": 0, "score": 0.5,
        "topics": {"geography": 1.0, "sums": 0.0},
    }  # fmt: skip
    wrong = [one["id"] for one in lines(example.folder / "wrong.jsonl")]
    assert wrong == ["sum-1", "sum-2", "sum-3"]


def test_training_data_leaves_out_what_is_cut_off_or_double(example: Example) -> None:
    tickets = lines(DATA / "tickets.jsonl")
    system = (
        "system: You answer customers of a bicycle shop: friendly, exact, at most four sentences."
    )
    ended = {
        record["text"]
        for record in tickets
        if END in answer(f"{system}\nuser: {record['text']}", 12)
    }
    assert 0 < len(ended) < len(tickets)
    double = {"id": "again", "text": min(ended)}
    file = example.folder / "tickets.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in [*tickets, double]))
    flags = ("training_data.py", file, "t.jsonl", "v.jsonl", "--end", END, "--max-tokens", "12")
    counts = json.loads(example.python(*flags))
    assert (counts["cut off"], counts["double"]) == (len(tickets) - len(ended), 1)
    examples = lines(example.folder / "t.jsonl") + lines(example.folder / "v.jsonl")
    roles = [tuple(one["role"] for one in each["messages"]) for each in examples]
    assert set(roles) == {("system", "user", "assistant")}
    assert {each["messages"][1]["content"] for each in examples} == ended


def test_labels_are_printed_as_they_come_and_bad_lines_stop_nothing(
    example: Example, unique: str
) -> None:
    tickets = (DATA / "tickets.jsonl").read_text()
    bad = 'no json\n{"id": "no text"}\n'
    flags = ("background.py", "--tenant", unique)
    said = example.python(*flags, stdin=bad + tickets)
    labels = {one["id"]: one["label"] for one in map(json.loads, said.splitlines())}
    system = "system: Answer with one word: order, repair, complaint or other."
    assert labels == {
        record["id"]: answer(f"{system}\nuser: {record['text']}", 4).strip()
        for record in lines(DATA / "tickets.jsonl")
    }
    assert sorted(example.python(*flags, stdin=tickets).splitlines()) == sorted(said.splitlines())


def test_every_example_is_listed() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    files = [file for file in EXAMPLES.iterdir() if file.is_file() and file.name != "README.md"]
    assert not [file.name for file in files if f"({file.name})" not in listed]


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def node_folder() -> Path:
    """A folder with the client installed, kept from run to run: modules lie beside the script."""
    npm = requires_tool("npm")
    folder = Path(
        tempfile.gettempdir(), f"overbook-tests-{CLIENT[9:].replace('@', '-')}-{os.getuid()}"
    )
    if not folder.exists():
        # Elsewhere and then moved, for an installation that breaks off would be kept, too.
        made = Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(made), CLIENT]
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
        if ran.returncode != 0:
            shutil.rmtree(made)
            missing(f"npm cannot install {CLIENT}: {ran.stderr[-300:]}")
        made.rename(folder)
    return folder
