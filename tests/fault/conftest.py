"""Telling figures while tests run."""

from collections.abc import Callable

import pytest


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Write a line to the terminal, also while output is captured."""

    def write(text: str) -> None:
        with capfd.disabled():
            print(f"\n{text}", flush=True)  # noqa: T201 - it is what was asked for

    return write
