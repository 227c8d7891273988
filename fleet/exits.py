"""What each error means to the shell: one text on stderr, and one of the documented exit codes."""

import errno
import os
import sys
from collections.abc import Iterator
from typing import Final

import click

from fleet.errors import (
    BrokerRefused,
    BrokerUnreachable,
    FleetError,
    JobRejected,
    NotFound,
    StoreRefused,
    StoreUnavailable,
    UsageError,
)

INTERRUPTED: Final = 130
# No bug, whatever was written: nobody reads it any more, or no more fits.
UNWRITTEN: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
EXIT_CODES: Final[tuple[tuple[type[FleetError], int], ...]] = (
    (UsageError, 2),
    (JobRejected, 2),
    (NotFound, 4),
    (BrokerUnreachable, 5),
    (BrokerRefused, 6),
    (StoreUnavailable, 5),
    (StoreRefused, 6),
)


def run_command(command: click.Command, args: list[str] | None = None, *, name: str) -> int:
    """Run a command under its name; return its exit code. A bug keeps its traceback."""
    _open_closed_streams()
    try:
        result = command.main(args, prog_name=name, standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OSError as error:
        if error.errno not in UNWRITTEN:
            raise
        return _leave_stdout(error, name)
    except FleetError as error:
        return _explain([error], name)
    except ExceptionGroup as group:
        ours = [leaf for leaf in _leaves(group) if isinstance(leaf, FleetError)]
        if len(ours) < sum(1 for _ in _leaves(group)):
            raise  # a bug among them: its traceback matters more
        return _explain(ours, name)
    return result if isinstance(result, int) else 0


def _open_closed_streams() -> None:
    """Put nothing where a standard stream was closed: what is opened next would take its place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _leave_stdout(error: OSError, name: str) -> int:
    """End without a bug of ours; what is still buffered goes nowhere, for Python flushes it again.

    Whoever read us and is gone needs no word.
    """
    if error.errno != errno.EPIPE:
        click.echo(f"{name}: not all could be written: {error.strerror}: make room", err=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def exit_code(error: FleetError) -> int:
    """Return the exit code that an error stands for."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)


def _explain(errors: list[FleetError], name: str) -> int:
    """Say what went wrong, each text once; return the exit code of the first error."""
    for text in dict.fromkeys(map(str, errors)):
        click.echo(f"{name}: {text}", err=True)
    return exit_code(errors[0])


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
