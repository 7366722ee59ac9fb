"""What is done with memory: how much of it may hold what is only kept for speed, and where that goes which is freed."""

import ctypes
import os
import sys
from contextlib import suppress

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def to_spare(most: int) -> int:
    """Bytes that may hold what is only kept to be faster: a quarter of the machine's memory, at most `most`."""
    try:
        return min(most, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4)
    except (AttributeError, ValueError, OSError):
        # Windows does not tell so.
        return min(most, 2 << 30)


def keep_freed_memory() -> None:
    """Tells glibc's allocator to keep large blocks; elsewhere does nothing.

    By default each large tensor is mapped afresh and its pages are zeroed at first touch, half of the time of a small
    CNN on a CPU. Resident memory stays at its highest point in exchange.
    """
    _set_allocator(kept=1 << 30, ahead=64 << 20)


def return_freed_memory(_worker: int = 0) -> None:
    """Takes `keep_freed_memory` back, for loader processes, which inherit it and run no CNN.

    Before version 2.38 glibc seldom finds an aligned block again among those it keeps (its bug 14581): what allocates
    whole batches, and small things in between, grows by a batch at a time.
    """
    _set_allocator(kept=1 << 20, ahead=0)


def _set_allocator(kept: int, ahead: int) -> None:
    """Blocks of up to `kept` bytes are not given back when freed, and `ahead` bytes are asked for at a time."""
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((_M_MMAP_THRESHOLD, kept), (_M_TRIM_THRESHOLD, kept), (_M_TOP_PAD, ahead)):
            mallopt(option, value)
