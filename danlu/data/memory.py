"""How much memory this machine has, and above which size a data set streams from its files."""

import os

from ..errors import UsageError
from ..units import parse_bytes

STREAM_ABOVE = "DANLU_STREAM_ABOVE"


def physical_memory() -> int:
    """Bytes of memory in the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def stream_above(given: int | None = None) -> int:
    """Bytes of pixels above which a set is not cached: `given`, else DANLU_STREAM_ABOVE ('8GB'), else a third of memory."""
    if given is not None:
        return given
    text = os.environ.get(STREAM_ABOVE)
    if not text:
        return physical_memory() // 3
    try:
        return parse_bytes(text)
    except UsageError as error:
        raise UsageError(f"environment variable {STREAM_ABOVE}: {error}") from error
