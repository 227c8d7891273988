"""Light modules stay light: nobody waits for torch to read a help text."""

import json
import subprocess
import sys

import pytest

HEAVY = {"boto3", "gguf", "prometheus_client", "textual", "torch", "transformers", "vllm"}
SCRIPT = """
import importlib, json, sys
before = set(sys.modules)
importlib.import_module(sys.argv[1])
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


def loaded_by(module: str) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, module], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout))


@pytest.mark.parametrize("module", ["fleet.wire", "fleet.claim", "fleet.events", "fleet.node"])
def test_the_core_loads_msgspec_and_nothing_else_of_weight(module: str) -> None:
    assert not loaded_by(module) & (HEAVY | {"asyncio", "nats", "click", "rich", "uvloop"})


def test_the_command_line_loads_only_click_until_a_command_is_called() -> None:
    loaded = loaded_by("fleet.cli.main")
    assert "click" in loaded
    assert not loaded & (HEAVY | {"asyncio", "nats", "rich", "uvloop", "consumers", "dashboard"})


def test_a_consumer_loads_no_engine_before_it_is_asked_for_one() -> None:
    assert not loaded_by("consumers.runner") & HEAVY
