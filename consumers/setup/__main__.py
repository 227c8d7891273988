"""`python -m consumers.setup`: what `fleet setup` does."""

import sys

from consumers.setup.command import command
from fleet.exits import run_command

if __name__ == "__main__":
    sys.exit(run_command(command, name="python -m consumers.setup"))
