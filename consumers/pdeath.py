"""Loaded in every child process of the engine: it dies with the process that started it.

Without this a consumer that is killed leaves a child behind that computes on and holds the GPU.
vLLM loads it twice: as its plugin (an entry point of this package) in the core and in the workers
of tensor parallelism, and by the worker's extension class where the package was not installed.
Linux only; elsewhere it does nothing.
"""

import ctypes
import multiprocessing
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


class DieWithParent:
    """Mixed into vLLM's worker; what it is for happens when this module is imported."""


def die_with_parent() -> None:
    """Ask the kernel for our end with our parent; only in an engine that a consumer started."""
    if "OVERBOOK_ENGINE" in os.environ:
        _die_with_parent()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent.pid:  # It died before we could ask to be told.
        os.kill(os.getpid(), signal.SIGKILL)


_die_with_parent()
