"""Exit codes: a promise to scripts. `docs/reference/exit-codes.md` lists them for people."""

from moothall.client.errors import (
    CallError,
    CertificateUntrustedError,
    ClientError,
    FeedEndedError,
    HallUnreachableError,
    ServerUntrustedError,
    SessionEndedError,
    WalletError,
)
from moothall.core.codes import Code

OK = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
UNTRUSTED = 4
WALLET = 5
PARTLY = 6
INTERRUPTED = 130

BY_CODE = {
    Code.INVALID_ARGUMENT: 10,
    Code.UNAUTHENTICATED: 11,
    Code.PERMISSION_DENIED: 12,
    Code.NOT_FOUND: 13,
    Code.ALREADY_EXISTS: 14,
    Code.ABORTED: 15,
    Code.FAILED_PRECONDITION: 16,
    Code.RESOURCE_EXHAUSTED: 17,
    Code.DEADLINE_EXCEEDED: 18,
    Code.UNAVAILABLE: 19,
    Code.UNIMPLEMENTED: 20,
    Code.INTERNAL: 21,
}
"""One number for each of the twelve codes with which a hall refuses."""


def exit_code(error: ClientError) -> int:
    """Return the exit code for an error."""
    match error:
        case CallError():
            return BY_CODE.get(Code(error.error_code), FAILED) if _is_known(error) else FAILED
        case CertificateUntrustedError() | ServerUntrustedError():
            return UNTRUSTED
        case HallUnreachableError():
            return UNREACHABLE
        case WalletError():
            return WALLET
        case SessionEndedError() | FeedEndedError():
            return BY_CODE[error.code]
        case _ if error.code is Code.INVALID_ARGUMENT:
            return USAGE
        case _:
            return FAILED


def _is_known(error: CallError) -> bool:
    return error.error_code in set(Code)
