"""How often a benchmark repeats itself."""

from __future__ import annotations

import time
from collections.abc import Iterator

SECONDS = 75.0
"""How long the rounds of one benchmark may take together, so that all of them end on a slow or busy machine, too."""


def rounds(most: int, *, seconds: float = SECONDS) -> Iterator[int]:
    """The numbers of the rounds, from 0: `most` at best, and none that would begin after `seconds`, but always one."""
    until = time.monotonic() + seconds
    for number in range(most):
        if number and time.monotonic() > until:
            return
        yield number
