"""Signing in to NATS by a key (`NKeys <https://docs.nats.io/using-nats/developer/connecting/nkey>`_).

A seed is base32 of two bytes that tell its kind, 32 bytes of an Ed25519 private key, and the
CRC-16 of these. The server sends a text of its own, which the key signs, so nothing that is sent
can be used a second time.
"""

import base64
import binascii
import re

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_KIND_SEED = 18 << 3
_KIND_USER = 20 << 3
_SEED_BYTES = 36
_PADDING = "======"  # RFC 4648, which a seed leaves out

_SEED = re.compile(r"\bSU[A-Z2-7]{56}\b")
_JWT = re.compile(r"-+BEGIN NATS USER JWT-+\s+([\w.-]+)\s+-+END NATS USER JWT-+")


class UserKey:
    """A user's key, which signs what a server sends.

    Raises:
        ValueError: The seed is none of a user.
    """

    def __init__(self, seed: str) -> None:
        try:
            raw = base64.b32decode(seed + _PADDING)
        except ValueError:
            raw = b""
        kinds = bytes([_KIND_SEED | _KIND_USER >> 5, (_KIND_USER & 31) << 3])
        body, checksum = raw[:-2], raw[-2:]
        is_whole = checksum == binascii.crc_hqx(body, 0).to_bytes(2, "little")
        if len(raw) != _SEED_BYTES or not body.startswith(kinds) or not is_whole:
            msg = "the seed in it is damaged"
            raise ValueError(msg)
        self._key = Ed25519PrivateKey.from_private_bytes(body[2:])

    @property
    def public(self) -> str:
        """The public key as servers know it: ``U`` and 55 more characters."""
        body = bytes([_KIND_USER]) + self._key.public_key().public_bytes_raw()
        checksum = binascii.crc_hqx(body, 0).to_bytes(2, "little")
        return base64.b32encode(body + checksum).decode().rstrip("=")

    def sign(self, nonce: str) -> bytes:
        """Return the signature of what the server sent, base64."""
        return base64.b64encode(self._key.sign(nonce.encode()))


def read_credentials(text: str) -> tuple[bytes | None, UserKey]:
    """Return the token (JWT) and the key in a ``.creds`` file; no token if it holds a seed alone.

    Raises:
        ValueError: There is no seed of a user in it, or it is damaged.
    """
    seed, jwt = _SEED.search(text), _JWT.search(text)
    if seed is None:
        msg = "it holds no seed of a user (SU...)"
        raise ValueError(msg)
    return jwt and jwt.group(1).encode(), UserKey(seed.group())
