"""Errors that are part of the contract, and the problem object that carries them.

The tree::

    MoothallError
      ConfigurationError          the operator must mend something; stops start-up
        DeclarationError          a room or an action is declared wrongly
      ActionError                 a call failed in an expected way; one of twelve codes
        InvalidArgumentError      framework errors: any action may raise them
        UnauthenticatedError
        PermissionDeniedError
        UnknownActionError
        KeyReusedError
        ReplyNotKeptError
        RateLimitedError
        TooManyConnectionsError
        ConnectionNeededError
        OverloadedError
        StorageUnavailableError
        DeadlineExceededError
        InternalError
        <Room>...Error            room errors: listed in an action's ``raises``

Whoever adds an error: the first line of its docstring is the problem's title and
is read by people who did not write the code; facts go into ``details`` and must
hold nothing that the caller may not know.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from moothall.core.codes import HTTP_STATUS, RETRYABLE, Code

_WORD = re.compile(r"(?<!^)(?=[A-Z])")


class MoothallError(Exception):
    """Root of all errors that Moothall raises on purpose."""


class ConfigurationError(MoothallError):
    """The operator must mend something before the hall can start."""


class DeclarationError(ConfigurationError):
    """A room, an action or an error is declared wrongly."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One failed call as the client sees it, at every door (RFC 9457).

    ``details`` holds facts: ``reason`` (a sentence), often ``field`` and
    ``remedy``, and what the error class adds, such as ``retry_after_ms``.
    """

    type: str
    title: str
    status: int
    code: str
    name: str
    details: Mapping[str, object]
    retryable: bool
    request_id: str


class ActionError(MoothallError):
    """A call failed in a way that its contract names.

    Raising rolls the call back. ``code`` is one of the twelve; the name on the
    wire is the class name in snake case without ``Error``.
    """

    code: ClassVar[Code]
    name: ClassVar[str] = "action"
    title: ClassVar[str] = "A call failed."

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Derive the wire name and the title from the class itself."""
        super().__init_subclass__(**kwargs)
        if not cls.__name__.endswith("Error"):
            msg = f"{cls.__qualname__}: the name of an error class must end in 'Error'"
            raise DeclarationError(msg)
        cls.name = _WORD.sub("_", cls.__name__.removesuffix("Error")).lower()
        cls.title = (cls.__doc__ or cls.name).strip().splitlines()[0].replace("``", "")

    def __init__(self, reason: str = "", /, **details: object) -> None:
        """Take an optional sentence for this occurrence, and the facts."""
        super().__init__(reason or self.title)
        self.details: dict[str, object] = {"reason": reason, **details} if reason else details

    def problem(self, request_id: str) -> Problem:
        """Return the problem object that a door sends for this error."""
        return Problem(
            type=f"urn:moothall:problem:{self.name}",
            title=self.title,
            status=HTTP_STATUS[self.code],
            code=self.code.value,
            name=self.name,
            details=self.details,
            retryable=self.code in RETRYABLE,
            request_id=request_id,
        )


class InvalidArgumentError(ActionError):
    """A value of the request cannot be used; ``details.field`` names it."""

    code = Code.INVALID_ARGUMENT

    def __init__(self, field: str, reason: str, remedy: str = "", /, **details: object) -> None:
        """Name the field (a path such as ``entries[3].score``), the fault and the remedy."""
        if remedy:
            details["remedy"] = remedy
        super().__init__(reason, field=field, **details)


class UnauthenticatedError(ActionError):
    """The call needs a valid access token and carries none."""

    code = Code.UNAUTHENTICATED


class PermissionDeniedError(ActionError):
    """The caller lacks the permission that this action needs."""

    code = Code.PERMISSION_DENIED


class UnknownActionError(ActionError):
    """There is no action of this name; ``details.near`` lists similar ones."""

    code = Code.UNIMPLEMENTED


class KeyReusedError(ActionError):
    """This idempotency key was used for another request."""

    code = Code.FAILED_PRECONDITION


class ReplyNotKeptError(ActionError):
    """The call with this key was carried out; its reply held a secret and is not kept."""

    code = Code.FAILED_PRECONDITION


class RateLimitedError(ActionError):
    """Too many calls; wait for ``details.retry_after_ms`` milliseconds."""

    code = Code.RESOURCE_EXHAUSTED


class TooManyConnectionsError(ActionError):
    """You have as many connections as one member may have."""

    code = Code.RESOURCE_EXHAUSTED


class ConnectionNeededError(ActionError):
    """This action is for connections that stay: WebSocket or NDJSON."""

    code = Code.FAILED_PRECONDITION


class OverloadedError(ActionError):
    """The hall has more work waiting than it accepts; try again."""

    code = Code.UNAVAILABLE


class StorageUnavailableError(ActionError):
    """The hall cannot write to its storage now; reading goes on."""

    code = Code.UNAVAILABLE


class DeadlineExceededError(ActionError):
    """The call took longer than it may; its outcome is unknown unless it was a read."""

    code = Code.DEADLINE_EXCEEDED


class InternalError(ActionError):
    """The hall has a fault; the operator finds it in the log under ``request_id``."""

    code = Code.INTERNAL


FRAMEWORK_ERRORS = (
    InvalidArgumentError,
    UnauthenticatedError,
    PermissionDeniedError,
    UnknownActionError,
    KeyReusedError,
    ReplyNotKeptError,
    RateLimitedError,
    TooManyConnectionsError,
    ConnectionNeededError,
    OverloadedError,
    StorageUnavailableError,
    DeadlineExceededError,
    InternalError,
)
"""Errors that the framework may raise around any action; no ``raises`` lists them."""
