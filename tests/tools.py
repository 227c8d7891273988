"""Tools that pip cannot bring: without them a test skips, except in CI, where it fails."""

import os
import shutil
from typing import NoReturn

import pytest


def requires_tool(name: str) -> str:
    """Return the path of a program; without it, skip on a user's machine and fail in CI."""
    path = shutil.which(name)
    if path is None:
        missing(f"{name} is not installed")
    return path


def missing(what: str) -> NoReturn:
    """Skip for the reason that `what` is missing; fail where CI=true promises that all is there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true, but {what}")
    pytest.skip(what)
