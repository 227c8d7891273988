"""Who sits at the terminal, for audit events and for others who wonder."""

import getpass
import os
import socket


def who() -> str:
    """Name the user and the machine."""
    try:
        return f"{getpass.getuser()} at {socket.gethostname()}"
    except (KeyError, OSError):  # a user without a name, as in some containers
        return f"user {os.getuid()} at {socket.gethostname()}"
