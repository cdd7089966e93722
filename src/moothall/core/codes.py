"""The twelve codes with which a call can fail, and what each means at a door.

The list is closed: a room tells its errors apart by *name*, a client decides by
*code*. Names and meanings follow gRPC's canonical codes; the statuses are those
of design decision 0001.
"""

from enum import StrEnum


class Code(StrEnum):
    """What kind of failure a problem is; the value is the spelling on the wire."""

    INVALID_ARGUMENT = "invalid_argument"
    UNAUTHENTICATED = "unauthenticated"
    PERMISSION_DENIED = "permission_denied"
    NOT_FOUND = "not_found"
    ALREADY_EXISTS = "already_exists"
    ABORTED = "aborted"
    FAILED_PRECONDITION = "failed_precondition"
    RESOURCE_EXHAUSTED = "resource_exhausted"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    UNAVAILABLE = "unavailable"
    UNIMPLEMENTED = "unimplemented"
    INTERNAL = "internal"


HTTP_STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.FAILED_PRECONDITION: 400,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.DEADLINE_EXCEEDED: 504,
    Code.UNAVAILABLE: 503,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
}
"""Status of the HTTPS door for each code."""

RETRYABLE = frozenset({Code.ABORTED, Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE})
"""Codes after which the same call, sent again later with the same key, may succeed.

``deadline_exceeded`` is missing on purpose: whether the deed was done is unknown,
so only a call with an idempotency key may be repeated, and its sender knows that.
"""
