"""Asking before something is gone for good."""

import sys

import click

from fleet.errors import UsageError


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal and end the command unless the answer is yes; `yes` answers beforehand.

    Raises UsageError where there is no terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal to ask on: say it with --yes")
    click.confirm(question, abort=True, err=True)
