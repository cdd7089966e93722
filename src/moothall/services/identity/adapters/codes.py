"""Codes that people are given to tell them back: invitations, and proofs of an address."""

import hmac
from base64 import b32encode

from moothall.ports.entropy import Entropy

DIGITS = 8
"""Digits of a code that is sent; a few guesses are counted, so a hundred million are enough."""

_INVITATION_BYTES = 20


class CodeSeal:
    """Makes codes, and the digests that rest in the database in their place.

    A digest is keyed: a stolen database alone tells nobody which of a hundred million codes
    was sent.
    """

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        """Digest with ``key``, 32 bytes for nothing else."""
        self._key = key
        self._entropy = entropy

    def make_invitation(self) -> str:
        """Return a code that cannot be guessed: 32 letters and digits in groups of four."""
        text = b32encode(self._entropy.random_bytes(_INVITATION_BYTES)).decode().lower()
        return "-".join(text[at : at + 4] for at in range(0, len(text), 4))

    def make_digits(self) -> str:
        """Return a code that is short enough to type off a telephone."""
        # Of 2^128 numbers no code has a part that is larger by more than 10^-30.
        number = int.from_bytes(self._entropy.random_bytes(16), "big") % 10**DIGITS
        return f"{number:0{DIGITS}}"

    def digest_invitation(self, code: str) -> str:
        """Return the digest of an invitation, however it was typed."""
        plain = "".join(code.split()).replace("-", "").lower()
        return self._digest("invitation", plain)

    def digest_digits(self, owner: str, address_key: str, code: str) -> str:
        """Return the digest of a code that was sent to an address on behalf of ``owner``."""
        return self._digest("contact", owner, address_key, "".join(code.split()))

    def digest_address(self, address_key: str) -> str:
        """Return what an address is counted by, where it need not be read again."""
        return self._digest("address", address_key)

    def _digest(self, *parts: str) -> str:
        """Return the HMAC-SHA-256 of parts that cannot run into each other."""
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256").hex()
