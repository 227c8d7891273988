"""Put requests through a fleet as one batch, with nothing but its command line.

The batch is named after its content: whoever runs the same work again, after a Ctrl-C or a crash,
goes on where it stopped and pays for nothing twice.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

SOME_FAILED = 3

Line = dict[str, Any]


def chat(custom_id: str, prompt: str, *, system: str | None = None, **body: object) -> Line:
    """Write a chat request as a line of OpenAI's batch format."""
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt})
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"messages": messages, **body},
    }


def text_of(answer: Line) -> str:
    """Return the text of an answered chat."""
    text: str = answer["response"]["body"]["choices"][0]["message"]["content"]
    return text


def finish_of(answer: Line) -> str:
    """Say why an answered chat ended: `stop` at its own end, `length` where it was cut off."""
    reason: str = answer["response"]["body"]["choices"][0]["finish_reason"]
    return reason


def answers(requests: Iterable[Line], *, model: str, window: str = "24h") -> Iterator[Line]:
    """Submit requests as a batch, wait for its end, and yield its good lines in order.

    window: when it has to be done; until then cheap capacity is waited for. What failed is told on
    stderr, and the rest goes on. Raises CalledProcessError where the fleet takes nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requests.jsonl")
        file.write_text("".join(json.dumps(request) + "\n" for request in requests))
        if not file.stat().st_size:
            return
        submit = ("submit", str(file), "--model", model, "--window", window, "--wait")
        batch = _fleet(*submit)["id"]
        files = _fleet("results", batch, "--dir", folder)
        for line in _lines(files["error_file"]):
            error = line["error"]
            print(f"{line['custom_id']}: {error['code']}: {error['message']}", file=sys.stderr)
        yield from _lines(files["output_file"])


def _fleet(*words: str) -> Line:
    """Run `fleet batch`, its progress on our stderr, and return what it says as JSON."""
    # Beside this Python where a virtual environment is not activated.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = ["fleet", "batch", *words, "--json"]
    environment = {**os.environ, "PATH": path}
    # A list of words and no shell: nothing in a name is ever run.
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=False, env=environment)  # noqa: S603
    if ran.returncode not in {0, SOME_FAILED}:
        ran.check_returncode()
    said: Line = json.loads(ran.stdout.splitlines()[-1])
    return said


def _lines(path: str) -> Iterator[Line]:
    with Path(path).open() as file:
        yield from map(json.loads, file)
