"""What the driver's errors mean for a call."""

import apsw
import pytest

from moothall.core.errors import StorageUnavailableError
from moothall.storage.sqlite.failure import is_sync_failure, translate_read, translate_write

PASSING = [
    apsw.SQLITE_BUSY,
    apsw.SQLITE_CANTOPEN,
    apsw.SQLITE_IOERR_READ,
    apsw.SQLITE_IOERR_WRITE,
    apsw.SQLITE_PROTOCOL,
]
BUGS = [apsw.SQLITE_CONSTRAINT_UNIQUE, apsw.SQLITE_ERROR, apsw.SQLITE_MISMATCH]


def error_of(code: int) -> apsw.Error:
    error = apsw.exception_for(code)
    assert isinstance(error, apsw.Error)
    return error


@pytest.mark.parametrize("code", PASSING)
def test_what_may_pass_can_be_tried_again(code: int) -> None:
    error = error_of(code)
    for translated in (translate_read(error), translate_write(error)):
        assert isinstance(translated, StorageUnavailableError)
        assert translated.__cause__ is error


@pytest.mark.parametrize("code", BUGS)
def test_a_bug_stays_what_it_is(code: int) -> None:
    error = error_of(code)
    assert translate_read(error) is translate_write(error) is error


def test_a_full_disk_is_named() -> None:
    translated = translate_write(error_of(apsw.SQLITE_FULL))
    assert isinstance(translated, StorageUnavailableError)
    assert translated.details["reason"] == "the disk is full"


def test_a_read_that_writes_is_a_bug() -> None:
    error = error_of(apsw.SQLITE_READONLY)
    assert translate_read(error) is error
    assert isinstance(translate_write(error), StorageUnavailableError)


def test_only_a_failed_sync_is_a_sync_failure() -> None:
    assert is_sync_failure(error_of(apsw.SQLITE_IOERR_FSYNC))
    assert is_sync_failure(error_of(apsw.SQLITE_IOERR_DIR_FSYNC))
    assert not is_sync_failure(error_of(apsw.SQLITE_IOERR_WRITE))
    assert not is_sync_failure(error_of(apsw.SQLITE_FULL))
    assert not is_sync_failure(OSError())
