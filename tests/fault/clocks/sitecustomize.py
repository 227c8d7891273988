"""Python imports this before anything else: after a while this process's clock jumps."""

import os
import time

_real, _real_ns = time.time, time.time_ns
_shift_s = float(os.environ["CLOCK_SHIFT_S"])
_jumps_at = time.monotonic() + float(os.environ["CLOCK_AFTER_S"])


def _shift() -> float:
    return _shift_s if time.monotonic() >= _jumps_at else 0.0


time.time = lambda: _real() + _shift()
time.time_ns = lambda: _real_ns() + int(_shift() * 1e9)
