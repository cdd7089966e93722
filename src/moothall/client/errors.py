"""What can go wrong between a program and its hall.

The tree::

    MoothallError
      ClientError
        CallError                   the hall answered with a problem
        HallUnreachableError        no answer, or none that a hall would give
          CallTimeoutError          the time limit of the call was reached first
        CertificateUntrustedError   the hall did not prove who it is
          CertificateChangedError   it showed another certificate than the pinned one
        ServerUntrustedError        the server takes itself for another one
        SessionElsewhereError       sessions are opened at another server
        SessionEndedError           the hall ended the session, and with it a feed
        FeedEndedError              the hall gives nothing more of a feed
        BusyError                   more at a time than this client may have
        FileTakenError              something has the name that a download was to have
        FileDamagedError            other bytes came than those that were asked for
        NothingToPickError          the answer has no value of that name
        AddressError                the address of a hall cannot be used
        WalletError                 the files of the client cannot be used
          WalletDamagedError        a file is damaged; it is never overwritten

Each error has a ``name`` and a ``code`` like the problems of a hall, so that the
command line can treat both alike, and says in ``remedy`` what to do about it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from moothall.core.codes import Code
from moothall.core.errors import MoothallError, Problem

_SHOWN_MAX = 20
"""Names that an error lists."""


class ClientError(MoothallError):
    """The call could not be made, or did not succeed."""

    name: ClassVar[str] = "client"
    code: ClassVar[Code] = Code.INTERNAL

    def __init__(self, reason: str, remedy: str = "", /, **details: object) -> None:
        """Take a sentence for what happened, one for what to do, and the facts."""
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.details = details

    def problem(self) -> Problem:
        """Return this error in the form that a hall's problems have."""
        remedy = {"remedy": self.remedy} if self.remedy else {}
        return Problem(
            type=f"urn:moothall:client:{self.name}",
            title=str(self),
            status=0,
            code=self.code.value,
            name=self.name,
            details={**self.details, **remedy},
            retryable=False,
            request_id="",
        )


class CallError(ClientError):
    """The hall refused the call. Decide by ``code``; tell errors apart by ``name``.

    Attributes:
        answer: The problem object as the hall sent it.
    """

    def __init__(self, answer: Problem) -> None:
        """Take the problem object."""
        reason = answer.details.get("reason")
        super().__init__(reason if isinstance(reason, str) and reason else answer.title)
        self.answer = answer
        remedy = answer.details.get("remedy")
        self.remedy = remedy if isinstance(remedy, str) else ""
        self.details = dict(answer.details)

    def __str__(self) -> str:
        """Return which field is wrong, what happened, and what to do, in one line."""
        field = self.details.get("field")
        where = f"{field}: " if isinstance(field, str) and field else ""
        return f"{where}{self.reason}{'; ' if self.remedy else ''}{self.remedy}"

    @property
    def error_name(self) -> str:
        """Name of the error, such as ``board_closed``."""
        return self.answer.name

    @property
    def error_code(self) -> str:
        """One of the twelve codes."""
        return self.answer.code

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later."""
        return self.answer.retryable

    @property
    def request_id(self) -> str:
        """Under which the operator finds the call in the log."""
        return self.answer.request_id

    @property
    def retry_after_ms(self) -> int | None:
        """How long the hall asks to wait, in milliseconds."""
        wait = self.details.get("retry_after_ms")
        if isinstance(wait, (int, float)) and not isinstance(wait, bool) and wait >= 0:
            return int(wait)
        return None

    def problem(self) -> Problem:
        """Return the problem as the hall sent it."""
        return self.answer


class HallUnreachableError(ClientError):
    """No answer came.

    Attributes:
        outcome_unknown: The request may have reached the hall and been carried out.
    """

    name = "hall_unreachable"
    code = Code.UNAVAILABLE

    def __init__(self, reason: str, remedy: str = "", *, outcome_unknown: bool = False) -> None:
        """Take reason and remedy, and whether the deed may have been done."""
        facts: Mapping[str, object] = {"outcome_unknown": True} if outcome_unknown else {}
        super().__init__(reason, remedy, **facts)
        self.outcome_unknown = outcome_unknown


class CallTimeoutError(HallUnreachableError):
    """The time limit of the call was reached before an answer came."""

    name = "call_timeout"
    code = Code.DEADLINE_EXCEEDED


class CertificateUntrustedError(ClientError):
    """The hall did not prove who it is; nothing was sent to it."""

    name = "certificate_untrusted"
    code = Code.UNAUTHENTICATED


class CertificateChangedError(CertificateUntrustedError):
    """The hall showed another certificate than the one trusted; nothing was sent to it."""

    name = "certificate_changed"


class SessionEndedError(ClientError):
    """The hall ended the session; ``details.reason`` is ``session_ended`` or ``idle``."""

    name = "session_ended"
    code = Code.UNAUTHENTICATED


class ServerUntrustedError(ClientError):
    """A resource server claims a name that is not its address; no token was asked for."""

    name = "server_untrusted"
    code = Code.FAILED_PRECONDITION


class SessionElsewhereError(ClientError):
    """This server takes tokens of another one, where sessions are opened; nothing was sent."""

    name = "session_elsewhere"
    code = Code.FAILED_PRECONDITION


class FeedEndedError(ClientError):
    """The hall gives nothing more of a feed; ``details.reason`` says why."""

    name = "feed_ended"
    code = Code.PERMISSION_DENIED


class FileTakenError(ClientError):
    """There is a file of this name, and nobody said that it may go."""

    name = "file_taken"
    code = Code.ALREADY_EXISTS


class FileDamagedError(ClientError):
    """The bytes that came are not those of the hash that was asked for; none were kept."""

    name = "file_damaged"
    code = Code.INTERNAL


class BusyError(ClientError):
    """The program has more under way than its client may have."""

    name = "busy"
    code = Code.RESOURCE_EXHAUSTED


class NothingToPickError(ClientError):
    """The answer has no value of the name that was to be printed; the deed is done."""

    name = "nothing_to_pick"

    def __init__(self, path: str, step: str, known: list[str], /) -> None:
        """Take the path, the step that leads nowhere, and what is there instead."""
        shown = ", ".join(known[:_SHOWN_MAX]) or "nothing within it"
        super().__init__(
            f"it is done, but the answer has no {step!r} for --pick {path}",
            f"there is {shown}",
            path=path,
        )


class AddressError(ClientError):
    """The address of a hall cannot be used."""

    name = "address"
    code = Code.INVALID_ARGUMENT


class WalletError(ClientError):
    """The files of the client cannot be used."""

    name = "wallet"
    code = Code.FAILED_PRECONDITION


class WalletDamagedError(WalletError):
    """A file of the wallet is damaged. It is left as it is."""

    name = "wallet_damaged"

    def __init__(self, path: Path, fault: str) -> None:
        """Name the file and what is wrong in it."""
        super().__init__(
            f"{path} is damaged and was left as it is: {fault}",
            "mend it, put a copy back in its place, or move it away and begin anew",
            path=str(path),
        )
        self.path = path
