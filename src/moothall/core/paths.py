"""Resource paths: where a permission is needed and where a role is bound.

A path is segments joined by ``/``: ``board/7``. The empty path is the whole
hall. A path covers itself and what lies below it, segment by segment, so that
``org/1`` never covers ``org/10``.
"""

import re
from functools import lru_cache

ROOT = ""

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}\Z")


def is_segment(text: str) -> bool:
    """Tell whether ``text`` can stand as one segment of a path."""
    return _SEGMENT.match(text) is not None


def is_path(text: str) -> bool:
    """Tell whether ``text`` is a well-formed resource path of at most 8 segments."""
    if text == ROOT:
        return True
    segments = text.split("/")
    return len(segments) <= 8 and all(map(is_segment, segments))  # noqa: PLR2004 - said above


def covers(outer: str, inner: str) -> bool:
    """Tell whether ``outer`` is ``inner`` or lies above it."""
    return outer in {ROOT, inner} or inner.startswith(outer + "/")


@lru_cache(maxsize=8_192)
def enclosing(path: str) -> tuple[str, ...]:
    """Return ``path`` and every path above it, nearest first, ending with the hall.

    Remembered, because every call asks it for one of a few paths.
    """
    if path == ROOT:
        return (ROOT,)
    paths = [path]
    cut = path.rfind("/")
    while cut != -1:
        path = path[:cut]
        paths.append(path)
        cut = path.rfind("/")
    paths.append(ROOT)
    return tuple(paths)
