"""Assertions: by which a resource server proves to its issuer that it is the one registered.

A JWT for one use, signed with a key of the server's own (RFC 7523, section 3, with the explicit
type of RFC 8725, section 3.11), so that no secret travels and none is shared. It is read as
strictly as an access token (:mod:`moothall.action.token`).
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from moothall.action.token import (
    SKEW_SECONDS,
    Header,
    is_signed_by,
    read_parts,
    sign_claims,
)

ASSERTION_SECONDS = 60
"""How long an assertion may live."""

_TYPE = "client-authentication+jwt"
_KEY_PREFIX = "ed25519:"
_KEY_BYTES = 32


class Assertion(msgspec.Struct, frozen=True, gc=False):
    """What an assertion says; it is worth nothing before :func:`is_proven`."""

    iss: str
    sub: str
    aud: str
    exp: int
    iat: int
    jti: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    nbf: int = 0

    @property
    def server(self) -> str:
        """Name of the resource server that it speaks of."""
        return self.iss

    @property
    def refused_from_ms(self) -> int:
        """From when on it is refused because of its age, in UTC epoch milliseconds."""
        return (self.exp + SKEW_SECONDS) * 1_000


def sign_assertion(
    key: Ed25519PrivateKey, *, server: str, issuer: str, assertion_id: str, now_ms: int
) -> str:
    """Return an assertion that ``server`` is who calls.

    Args:
        key: The server's own; its public half is registered (:func:`show_server_key`).
        server: The audience under which the server is registered.
        issuer: Name of the hall that it is for, as in the ``iss`` of its tokens.
        assertion_id: Of 1 to 128 characters; another one for each assertion.
        now_ms: UTC epoch milliseconds.
    """
    issued = now_ms // 1_000
    claims = {
        "iss": server,
        "sub": server,
        "aud": issuer,
        "iat": issued,
        "exp": issued + ASSERTION_SECONDS,
        "jti": assertion_id,
    }
    fields = _public_fields(key.public_key().public_bytes_raw())
    fields["d"] = _encode(key.private_bytes_raw())
    return sign_claims({"typ": _TYPE}, claims, OKPKey.import_key(fields))


def read_assertion(text: str) -> Assertion | None:
    """Return what an assertion says, **not proven yet**, or None if the text is none."""
    read = read_parts(text, _TYPE, Header, Assertion)
    return None if read is None else read[1]


def is_proven(text: str, said: Assertion, key: OKPKey, *, issuer: str, now_ms: int) -> bool:
    """Tell whether ``key`` signed this assertion, for ``issuer``, and not long ago.

    Whether it was used before is not told here.
    """
    now = now_ms // 1_000
    is_signed = is_signed_by(text, key)  # first and always: what is wrong is not told by time
    begins = max(said.iat, said.nbf)
    is_now = begins <= now + SKEW_SECONDS and now < said.exp + SKEW_SECONDS
    is_short = 0 < said.exp - said.iat <= ASSERTION_SECONDS
    return is_signed and said.iss == said.sub and said.aud == issuer and is_now and is_short


def show_server_key(public: bytes) -> str:
    """Return 32 bytes of a public key as people pass them on: ``ed25519:`` and base64url."""
    return _KEY_PREFIX + _encode(public)


def read_server_key(text: str) -> OKPKey | None:
    """Return the public key that :func:`show_server_key` has shown, or None for other texts."""
    encoded = text.removeprefix(_KEY_PREFIX)
    try:
        public = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except ValueError:
        return None
    if len(public) != _KEY_BYTES or show_server_key(public) != text:
        return None
    return OKPKey.import_key(_public_fields(public))


def _public_fields(public: bytes) -> dict[str, str | list[str]]:
    """Return a public key as JWK (RFC 8037)."""
    return {"kty": "OKP", "crv": "Ed25519", "x": _encode(public), "alg": "EdDSA"}


def _encode(raw: bytes) -> str:
    """Encode without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
