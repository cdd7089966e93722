"""Codes for forgotten passwords."""

import hmac
from base64 import b32encode
from typing import NamedTuple

from moothall.ports.entropy import Entropy
from moothall.services.identity.model import RecoveryCode

_SELECTOR_LENGTH = 4
_SECRET_LENGTH = 12
"""60 random bits: a code has a few guesses only, and none of them can be made elsewhere."""

_NONCE_BYTES = 16


class TypedCode(NamedTuple):
    """The parts of a code as somebody typed it."""

    selector: str
    secret: str


class RecoverySeal:
    """Makes and recognises codes: ``abcd-efgh-ijkl-mnop``.

    The first four signs find the row; so a guess is counted only if they are right, and
    nobody uses up the guesses of somebody else's code. The rest is an HMAC of the row under a
    key outside the database: no row holds it, and a stolen database makes none.
    """

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        """Authenticate with ``key``, 32 bytes for nothing else."""
        self._key = key
        self._entropy = entropy

    def make_parts(self) -> tuple[str, str]:
        """Return selector and nonce of a new row."""
        drawn = self._entropy.random_bytes(_NONCE_BYTES)
        return _encode(self._entropy.random_bytes(8))[:_SELECTOR_LENGTH], drawn.hex()

    def code(self, known: RecoveryCode) -> str:
        """Return the code of a row, as people are given it."""
        text = known.selector + self._secret(known)
        return "-".join(text[at : at + 4] for at in range(0, len(text), 4))

    def is_code(self, known: RecoveryCode, typed: TypedCode) -> bool:
        """Tell whether somebody typed the code of a row."""
        expected = known.selector + self._secret(known)
        return hmac.compare_digest(expected.encode(), (typed.selector + typed.secret).encode())

    @staticmethod
    def read(text: str) -> TypedCode:
        """Return the parts of a code, however its groups and letters were typed."""
        plain = "".join(text.split()).replace("-", "").lower()
        # What no code holds is a wrong code like any other.
        plain = plain if plain.isascii() else ""
        return TypedCode(plain[:_SELECTOR_LENGTH], plain[_SELECTOR_LENGTH:])

    def _secret(self, known: RecoveryCode) -> str:
        """Return what follows the selector."""
        text = f"{known.member_id}.{known.kind}.{known.selector}.{known.nonce}"
        return _encode(hmac.digest(self._key, text.encode(), "sha256"))[:_SECRET_LENGTH]


def _encode(raw: bytes) -> str:
    """Return small letters and digits that are not taken for each other (RFC 4648)."""
    return b32encode(raw).decode().rstrip("=").lower()
