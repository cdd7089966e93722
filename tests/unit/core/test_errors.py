"""Errors and the problem object that carries them."""

import pytest

from moothall.core.codes import Code
from moothall.core.errors import (
    FRAMEWORK_ERRORS,
    ActionError,
    DeclarationError,
    InternalError,
    InvalidArgumentError,
    RateLimitedError,
)


class BoardClosedError(ActionError):
    """The ``board`` takes no scores.

    What stands here is for whoever writes code.
    """

    code = Code.FAILED_PRECONDITION


@pytest.mark.requirement("R31")
def test_problem_carries_what_a_client_needs_and_nothing_else() -> None:
    problem = BoardClosedError("since noon", board="7").problem("req-1")

    assert (problem.type, problem.name) == ("urn:moothall:problem:board_closed", "board_closed")
    assert (problem.code, problem.status) == ("failed_precondition", 400)
    assert problem.title == "The board takes no scores."
    assert problem.details == {"reason": "since noon", "board": "7"}
    assert (problem.retryable, problem.request_id) == (False, "req-1")


def test_without_a_reason_the_details_hold_only_facts() -> None:
    assert BoardClosedError().problem("r").details == {}


def test_bad_input_names_field_reason_and_remedy() -> None:
    problem = InvalidArgumentError("entries[3].score", "too high", "at most 9").problem("r")

    assert problem.details == {
        "field": "entries[3].score",
        "reason": "too high",
        "remedy": "at most 9",
    }


@pytest.mark.parametrize("error", FRAMEWORK_ERRORS)
def test_framework_errors_have_a_code_and_a_title_for_people(error: type[ActionError]) -> None:
    assert isinstance(error.code, Code)
    assert error.title.endswith((".", "milliseconds.", "ones."))
    assert error.name == error.name.lower()


def test_retryable_follows_from_the_code() -> None:
    assert RateLimitedError().problem("r").retryable
    assert not InternalError().problem("r").retryable


def test_a_name_that_does_not_end_in_error_is_refused() -> None:
    with pytest.raises(DeclarationError, match="must end in 'Error'"):
        type("BoardClosed", (ActionError,), {"code": Code.ABORTED})
