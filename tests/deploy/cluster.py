"""Manifests as Kubernetes would get them, and questions about them."""

import functools
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import click
import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("aws", "single-node")
Manifest: TypeAlias = dict[str, Any]
# Workloads whose pods are written out in them.
WORKLOADS = frozenset({"Deployment", "StatefulSet", "Job"})


def kubectl() -> str:
    """Return the path of the one that pip brought: that of the machine may be any."""
    return str(Path(sys.executable).parent / "kubectl")


def kustomize(folder: Path) -> str:
    """Build a folder. Raises CalledProcessError."""
    command = [kubectl(), "kustomize", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@functools.cache
def parse(text: str) -> list[Manifest]:
    """Read manifests, which nobody changes."""
    # The one in Python takes half a second for what the one in C reads at once.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [one for one in yaml.load_all(text, Loader=loader) if one]


@functools.cache
def overlay(name: str) -> str:
    """Build an overlay once."""
    return kustomize(KUBERNETES / "overlays" / name)


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Choose by kind."""
    return [one for one in manifests if one["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Find one."""
    return next(one for one in of_kind(manifests, kind) if one["metadata"]["name"] == name)


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Yield name, workload and pod template of each."""
    for one in of_kind(manifests, *WORKLOADS):
        yield f"{one['kind']} {one['metadata']['name']}", one, one["spec"]["template"]


def containers(template: Manifest) -> list[Manifest]:
    """Return all containers of a pod, those that come first included."""
    spec = template["spec"]
    return [*spec.get("initContainers", ()), *spec["containers"]]


def wants_gpu(template: Manifest) -> bool:
    """Whether any of its containers asks for a GPU."""
    return any(
        "nvidia.com/gpu" in one.get("resources", {}).get("limits", {})
        for one in containers(template)
    )


def environment(manifests: list[Manifest], container: Manifest) -> dict[str, str]:
    """Return what a container's environment says; values that the cluster fills in are empty."""
    told: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        found = named(manifests, "ConfigMap", source["configMapRef"]["name"])
        told |= found["data"]
    for one in container.get("env", ()):
        told[one["name"]] = one.get("value", "")
    return told


def filled(manifests: list[Manifest], container: Manifest) -> list[str]:
    """Return the arguments with `$(NAME)` filled in, as the kubelet does."""
    told = environment(manifests, container)
    arguments = [*container.get("command", ()), *container.get("args", ())]
    for name, value in told.items():
        arguments = [one.replace(f"$({name})", value) for one in arguments]
    return arguments


def parsed(command: click.Command, arguments: Sequence[str]) -> None:
    """Let click read arguments as far as they go: every subcommand and flag has to be known."""
    while isinstance(command, click.Group):
        name, *arguments = arguments
        inner = command.get_command(click.Context(command), name)
        assert inner is not None, f"there is no command {name}"
        command = inner
    command.make_context(command.name, list(arguments))
