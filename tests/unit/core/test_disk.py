"""What an operator reads when the disk refuses: why, and what helps."""

import errno
import os
from pathlib import Path

import pytest

from moothall.core.disk import describe_failure

PATH = Path("/srv/hall/sealing.key")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EACCES, "let the hall's user write to /srv/hall,"),
        (errno.EISDIR, "move /srv/hall/sealing.key away"),
        (errno.ENOENT, "make the folder /srv/hall,"),
        (errno.EROFS, "can only be read"),
        (errno.EIO, "look at that disk"),
    ],
)
def test_each_failure_has_its_remedy(number: int, remedy: str) -> None:
    told = describe_failure(OSError(number, os.strerror(number), str(PATH)), PATH)
    assert told.startswith(f"{os.strerror(number)}; ")
    assert remedy in told


def test_an_error_that_says_little_is_told_all_the_same() -> None:
    assert describe_failure(OSError("the cable is out"), PATH).startswith("the cable is out; ")
