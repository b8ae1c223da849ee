"""Becomes another program that does not outlive its parent: `python tether.py PROGRAM [ARGUMENT...]`.

The kernel sends it SIGTERM when its parent dies, however that dies (Linux). It is a script of its own rather than a
`preexec_fn`, which would make Python fork, and whatever threads the parent has do not survive a fork.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - no shell is the point
