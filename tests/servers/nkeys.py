"""Keys and tokens of a NATS server's operators, accounts and users, as its own tools make them."""

import base64
import binascii
import hashlib
import json
from typing import Any, Literal, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED = 18 << 3
_KINDS = {"operator": 14 << 3, "account": 0, "user": 20 << 3}


class Key(NamedTuple):
    """One key, in the forms in which it is written down."""

    private: Ed25519PrivateKey
    seed: str
    public: str


def make_key(kind: Literal["operator", "account", "user"], private: Ed25519PrivateKey) -> Key:
    """Return a key as it is written down."""
    letter = _KINDS[kind]
    seed = bytes([_SEED | letter >> 5, (letter & 31) << 3]) + private.private_bytes_raw()
    return Key(private, _encode(seed), _encode(bytes([letter]) + _public(private)))


def sign_jwt(issuer: Key, subject: str, claims: dict[str, Any]) -> str:
    """Return a token in which ``issuer`` says ``claims`` of the key ``subject``."""
    body = {"iss": issuer.public, "sub": subject, "iat": 1_700_000_000, "nats": claims}
    digest = hashlib.new("sha512_256", json.dumps(body).encode()).digest()
    body["jti"] = base64.b32encode(digest).decode().rstrip("=")
    head = {"typ": "JWT", "alg": "ed25519-nkey"}
    text = f"{_segment(json.dumps(head).encode())}.{_segment(json.dumps(body).encode())}"
    return f"{text}.{_segment(issuer.private.sign(text.encode()))}"


def _public(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()


def _encode(body: bytes) -> str:
    checksum = binascii.crc_hqx(body, 0).to_bytes(2, "little")
    return base64.b32encode(body + checksum).decode().rstrip("=")


def _segment(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
