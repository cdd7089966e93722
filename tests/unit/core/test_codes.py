"""The closed list of codes is a promise to clients."""

import pytest

from moothall.core.codes import HTTP_STATUS, RETRYABLE, Code

PROMISED = {
    "invalid_argument": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "already_exists": 409,
    "aborted": 409,
    "failed_precondition": 400,
    "resource_exhausted": 429,
    "deadline_exceeded": 504,
    "unavailable": 503,
    "unimplemented": 501,
    "internal": 500,
}


@pytest.mark.requirement("R31")
def test_there_are_twelve_codes_each_with_its_status() -> None:
    assert {code.value: HTTP_STATUS[code] for code in Code} == PROMISED


def test_only_what_may_succeed_later_is_retryable() -> None:
    assert {code.value for code in RETRYABLE} == {"aborted", "resource_exhausted", "unavailable"}
