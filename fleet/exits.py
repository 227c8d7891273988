"""What each error means to the shell: one text on stderr, and one of the documented exit codes."""

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
    try:
        result = command.main(args, prog_name=name, standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        # Whoever read us is gone. Python flushes stdout once more at exit, into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except FleetError as error:
        return _explain([error], name)
    except ExceptionGroup as group:
        ours = [leaf for leaf in _leaves(group) if isinstance(leaf, FleetError)]
        if len(ours) < sum(1 for _ in _leaves(group)):
            raise  # a bug among them: its traceback matters more
        return _explain(ours, name)
    return result if isinstance(result, int) else 0


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
