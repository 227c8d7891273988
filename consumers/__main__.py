"""`python -m consumers on-demand|spot`."""

import sys

from consumers.command import command
from fleet.exits import run_command

if __name__ == "__main__":
    sys.exit(run_command(command, name="python -m consumers"))
