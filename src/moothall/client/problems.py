"""From an answer to the problem it carries. Pure."""

import msgspec

from moothall.client.errors import CallError, HallUnreachableError
from moothall.client.exchange import Answer
from moothall.core.codes import HTTP_STATUS, RETRYABLE, Code
from moothall.core.errors import Problem

_BALANCER_STATUSES = frozenset({502, 503, 504})
"""What a balancer answers by itself while the hall behind it is away."""


def read_problem(answer: Answer) -> CallError | HallUnreachableError:
    """Return the error that an answer other than 200 stands for."""
    if problem := find_problem(answer.body):
        return CallError(problem)
    if answer.status in _BALANCER_STATUSES:
        return CallError(_unavailable(answer.status))
    return HallUnreachableError(
        f"what answers there is no hall (HTTP {answer.status})",
        "check the address",
        outcome_unknown=True,
    )


def find_problem(body: bytes) -> Problem | None:
    """Return the problem that a body holds, or None if it holds none."""
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    match tree:
        case {"code": str() as code, "name": str() as name}:
            pass
        case _:
            return None
    details, status = tree.get("details"), tree.get("status")
    return Problem(
        type=str(tree.get("type", "about:blank")),
        title=str(tree.get("title", name)),
        status=status if isinstance(status, int) else 0,
        code=code,
        name=name,
        details=details if isinstance(details, dict) else {},
        retryable=tree.get("retryable") is True,
        request_id=str(tree.get("request_id", "")),
    )


def _unavailable(status: int) -> Problem:
    code = Code.UNAVAILABLE
    return Problem(
        type="about:blank",
        title=f"A balancer answers that the hall is away (HTTP {status}).",
        status=HTTP_STATUS[code],
        code=code.value,
        name="unavailable",
        details={},
        retryable=code in RETRYABLE,
        request_id="",
    )
