"""Order between processes that share memory."""

from mpignn.kernels.compiled import kernel
from mpignn.kernels.simd import full_fence


@kernel
def fence() -> None:
    """Let all that was stored before be seen before what is stored after, and read nothing before that comes after.

    Processors may do both out of order, x86 only the latter.  Not collective.
    """
    full_fence()


def warm() -> None:
    """Compile the kernel, or load it from the cache.  Not collective."""
    fence()
