"""Imported by name in the engine's child process: it dies with the process that started it.

Without this a consumer that is killed leaves a child behind that computes on and holds the GPU.
Linux only; elsewhere importing this does nothing.
"""

import ctypes
import multiprocessing
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


class DieWithParent:
    """Mixed into vLLM's worker; what it is for happens when this module is imported."""


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent.pid:  # It died before we could ask to be told.
        os.kill(os.getpid(), signal.SIGKILL)


_die_with_parent()
