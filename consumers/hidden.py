"""What the engine's child processes do not inherit: they run others' prompts and need no keys."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Final

# Of our broker, our cloud and our collector. What a model needs to load is not among them.
PREFIXES: Final = ("AWS_", "FLEET_NATS", "NATS_", "OTEL_EXPORTER_OTLP_")


@contextmanager
def hidden(environ: MutableMapping[str, str]) -> Iterator[None]:
    """Take credentials out of the environment while the body starts processes."""
    taken = {name: value for name, value in environ.items() if name.startswith(PREFIXES)}
    for name in taken:
        del environ[name]
    try:
        yield
    finally:
        environ.update(taken)
