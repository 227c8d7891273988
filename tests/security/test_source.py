"""What the code never does, whoever asks: run what it was sent, or listen to everybody."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.settings import Settings

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for top in ("fleet", "consumers", "dashboard") for path in (ROOT / top).rglob("*.py")
)
# These turn bytes into objects of the sender's choice.
LOADERS = {"cloudpickle", "dill", "jsonpickle", "marshal", "pickle", "shelve"}
RUNNERS = {"compile", "eval", "exec", "__import__"}
# A shell for what was sent, and a model that brings code of its own.
SWITCHES = {"shell", "trust_remote_code"}
EVERYBODY = {"0.0.0.0", "::"}


def faults(source: str) -> Iterator[str]:
    """Name what must not be in a module."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (one.name for one in names if one.name.partition(".")[0] in LOADERS)
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in LOADERS:
                yield module
            case ast.Call(func=ast.Name(id=name)) if name in RUNNERS:
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id="yaml"), attr="load")):
                yield "yaml.load"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load")) if not any(
                one.arg == "weights_only" for one in node.keywords
            ):
                yield "torch.load"
            case ast.keyword() | ast.Dict():
                yield from SWITCHES & switched_on(node)
            case ast.Constant(value=str(text)) if text in EVERYBODY:
                yield text


def switched_on(node: ast.keyword | ast.Dict) -> set[str]:
    """Return what is set to True here: an argument, or entries of a dictionary."""
    match node:
        case ast.keyword(arg=str(name), value=ast.Constant(value=True)):
            return {name}
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {
                str(key.value)
                for key, value in pairs
                if isinstance(key, ast.Constant)
                and isinstance(value, ast.Constant)
                and value.value is True
            }
        case _:
            return set()


def test_no_module_runs_what_it_was_sent_or_listens_to_everybody() -> None:
    found = {str(path.relative_to(ROOT)): list(faults(path.read_text())) for path in SOURCES}
    assert len(found) > 100
    assert {path: them for path, them in found.items() if them} == {}


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import pickle", "pickle"),
        ("from dill import loads", "dill"),
        ("eval(text)", "eval"),
        ("torch.load(path)", "torch.load"),
        ("yaml.load(text)", "yaml.load"),
        ("run(command, shell=True)", "shell"),
        ("serve('0.0.0.0')", "0.0.0.0"),
        ("engine(trust_remote_code=True)", "trust_remote_code"),
        ("args = {**more, 'trust_remote_code': True}", "trust_remote_code"),
    ],
)
def test_each_of_them_would_be_found(source: str, fault: str) -> None:
    assert list(faults(source)) == [fault]


def test_probes_and_numbers_are_for_this_machine_unless_somebody_says_otherwise() -> None:
    settings = Settings.from_env({})
    assert settings.health_host == "127.0.0.1"
    assert settings.health_port is None
