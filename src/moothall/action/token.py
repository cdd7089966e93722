"""Access tokens: signing them, and telling a good one from all others (R2).

JWT as RFC 9068 profiles it (``typ: at+jwt``), signed with Ed25519. The algorithm
is pinned here, not read from the token; the key comes from the ring by ``kid``, never
from the token's own header. What can be written in two ways is refused unless it is
written in the one canonical way, so that no bit of a token can be changed unnoticed.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import blake2b
from typing import Annotated, Any, TypeVar

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry

from moothall.core.errors import UnauthenticatedError
from moothall.ports.clock import Clock
from moothall.ports.keyring import KeyRing
from moothall.ports.sessions import SessionEnds

LIFE_SECONDS = 300
"""How long an access token lives (R5)."""

SKEW_SECONDS = 60
"""How far the clocks of an issuer and a verifier may be apart."""

TOKEN_LENGTH_MAX = 2_048
NAME_LENGTH_MAX = 128
"""Characters of a member's name that a token may carry; halls that make names allow fewer."""
REMEMBERED_MAX = 16_384

H = TypeVar("H", bound="Header")
B = TypeVar("B", bound=msgspec.Struct)
S = TypeVar("S", bound=msgspec.Struct)

_ALGORITHM = "EdDSA"
_ALGORITHMS = frozenset({_ALGORITHM, "Ed25519"})
"""Both names of the one algorithm; RFC 9864 brought the second, which says the curve too."""
_TYPE = "at+jwt"
_CLIENT = "moothall"


class Claims(msgspec.Struct, frozen=True, gc=False):
    """What a verified token says."""

    member_id: str
    session_id: str
    expires_at: int
    """UTC epoch seconds."""
    expires_steady: float
    """The same moment on the steady clock, so that no clock jump lengthens a token."""
    device: str
    """Id of the device that the session was opened on; the session's own where it has no label."""
    name: str = ""
    """The member's name, at most 128 characters, in a token for another audience; else empty."""


class _OneAlgorithm(JWSRegistry):
    """Knows EdDSA and nothing else, whatever a header says.

    RFC 9864 renames it to Ed25519, and the library warns at each use of the old name; what
    clients and servers understand today is the old one, so tokens are signed under it.
    """

    def get_alg(self, name: str) -> Any:
        """Return the algorithm, which is the same under both names: all keys are Ed25519."""
        if name not in _ALGORITHMS:
            msg = f"the algorithm is {_ALGORITHM}"
            raise UnsupportedAlgorithmError(msg)
        return self.algorithms[_ALGORITHM]


_REGISTRY = _OneAlgorithm(algorithms=[_ALGORITHM])


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every signed token says of itself, and no more than that."""

    alg: str
    typ: str


class _Header(Header, frozen=True, forbid_unknown_fields=True):
    kid: str


class _Body(msgspec.Struct, frozen=True):
    iss: str
    sub: str
    aud: str
    exp: int
    iat: int
    jti: str
    sid: str
    dev: str = ""
    """Id of the device, where the session has a label."""
    name: Annotated[str, msgspec.Meta(max_length=NAME_LENGTH_MAX)] = ""
    """Of the member, where the token is for another audience (OpenID Connect Core, 5.1)."""
    nbf: int = 0
    """Not before; this hall signs none, but who sends one means it (RFC 7519, 4.1.5)."""


def sign_token(  # noqa: PLR0913 - all but the keys stand in the token
    keys: KeyRing,
    *,
    issuer: str,
    audience: str,
    member_id: str,
    session_id: str,
    session_expires_at_ms: int,
    token_id: str,
    now_ms: int,
    device: str = "",
    name: str = "",
) -> tuple[str, int]:
    """Return an access token and when it expires (UTC epoch milliseconds).

    That is after :data:`LIFE_SECONDS`, or with its session if that ends sooner. ``name`` is
    the member's, for an audience that knows nobody yet; empty, the token carries none.
    """
    key = keys.signing_key()
    issued = now_ms // 1_000
    expires = min(issued + LIFE_SECONDS, session_expires_at_ms // 1_000)
    claims = {
        "iss": issuer,
        "sub": member_id,
        "aud": audience,
        "client_id": _CLIENT,
        "exp": expires,
        "iat": issued,
        "jti": token_id,
        "sid": session_id,
    }
    if device:
        claims["dev"] = device_id(member_id, device)
    if name:
        claims["name"] = name
    return sign_claims({"typ": _TYPE, "kid": key.kid}, claims, key), expires * 1_000


def device_id(member_id: str, label: str) -> str:
    """Return the id of a member's device: the same for the same label, and it tells nothing."""
    return blake2b(f"{member_id}\0{label}".encode(), digest_size=12).hexdigest()


class TokenVerifier:
    """Verifies tokens for one audience and remembers the verified ones.

    A signature costs about 150 µs to verify, a remembered token less than one
    (``bench/tokens.py``). A token is remembered only after it was verified whole, its end is
    checked every time, and all are forgotten when the keys change.
    """

    def __init__(
        self,
        keys: KeyRing,
        sessions: SessionEnds,
        clock: Clock,
        *,
        issuer: str,
        audience: str,
        check_sight: Callable[[], None] | None = None,
    ) -> None:
        """Accept tokens that ``issuer`` made for ``audience``.

        ``check_sight`` raises where this process may not know which sessions have ended.
        """
        self._check_sight = check_sight
        self._keys = keys
        self._sessions = sessions
        self._clock = clock
        self._issuer = issuer
        self._audience = audience
        self._remembered: dict[str, Claims] = {}
        self._generation = keys.generation

    def verify(self, token: str) -> Claims:
        """Return what the token says.

        Raises:
            UnauthenticatedError: It is not a token of this issuer for this audience, it is
                altered or expired, its key is retired, or its session has ended.
            StorageUnavailableError: This node may not know whether it has.
        """
        if self._check_sight is not None:
            self._check_sight()
        if self._generation != self._keys.generation:
            self.forget_all()  # by a key that may be retired now
            self._generation = self._keys.generation
        claims = self._remembered.get(token)
        if claims is None:
            claims = self._verify_afresh(token)
            self._remember(token, claims)
        expired = (
            self._clock.monotonic() >= claims.expires_steady
            or self._clock.now_ms() >= claims.expires_at * 1_000
        )
        if expired:
            self._remembered.pop(token, None)
            raise UnauthenticatedError("the access token has expired", remedy="renew it")
        self.check_session(claims)
        return claims

    def check_session(self, claims: Claims) -> None:
        """Refuse what was verified before its session ended: a call may have waited since.

        Raises:
            UnauthenticatedError: The session has ended.
        """
        if self._sessions.has_ended(claims.session_id):
            raise UnauthenticatedError("the session has ended", remedy="sign in again")

    def forget_all(self) -> None:
        """Verify every token afresh from now on."""
        self._remembered.clear()

    def _verify_afresh(self, token: str) -> Claims:
        """Verify form, key, signature and claims, in this order."""
        read = read_parts(token, _TYPE, _Header, _Body)
        if read is None:
            raise _invalid()
        header, body = read
        key = self._keys.verifying_key(header.kid)
        if key is None or not is_signed_by(token, key):
            raise _invalid()
        now = self._clock.now_ms() // 1_000
        is_ours = body.iss == self._issuer and body.aud == self._audience
        begins = max(body.iat, body.nbf)
        if not is_ours or begins > now + SKEW_SECONDS or body.exp - body.iat > LIFE_SECONDS:
            raise _invalid()
        life = min(body.exp - now, LIFE_SECONDS + SKEW_SECONDS)
        steady = self._clock.monotonic() + life
        return Claims(body.sub, body.sid, body.exp, steady, body.dev or body.sid, body.name)

    def _remember(self, token: str, claims: Claims) -> None:
        """Keep ``claims``; the oldest go first when there are too many."""
        remembered = self._remembered
        if len(remembered) >= REMEMBERED_MAX:
            for old in list(remembered)[: REMEMBERED_MAX // 8]:
                del remembered[old]
        remembered[token] = claims


def sign_claims(header: dict[str, Any], claims: dict[str, Any], key: OKPKey) -> str:
    """Return a token of these claims; ``header`` says its type, and by which key."""
    return jwt.encode({"alg": _ALGORITHM, **header}, claims, key, registry=_REGISTRY)


def read_parts(token: str, kind: str, header: type[H], body: type[B]) -> tuple[H, B] | None:
    """Return header and body of a token of the type ``kind``, **not verified yet**.

    None for every other text: its three parts are canonical base64url, no name stands
    twice, the algorithm is the pinned one, and nothing is missing.
    """
    parts = token.split(".") if len(token) <= TOKEN_LENGTH_MAX else []
    if len(parts) != 3:  # noqa: PLR2004 - compact serialisation, RFC 7515 section 7.1
        return None
    try:
        raw = [_decode_part(part) for part in parts]
        head = _load(raw[0], header)
        claims = _load(raw[1], body)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None
    if head.alg not in _ALGORITHMS or head.typ.lower() != kind:
        return None
    return head, claims


def is_signed_by(token: str, key: OKPKey) -> bool:
    """Tell whether ``key`` signed a token that :func:`read_parts` has read."""
    try:
        jwt.decode(token, key, registry=_REGISTRY)
    except (JoseError, ValueError):
        return False
    return True


def _load(raw: bytes, kind: type[S]) -> S:
    """Parse JSON in which no name stands twice (RFC 7519, section 4).

    The standard library finds the names; msgspec refuses what the other lets pass, such as NaN
    and half a surrogate pair, which could neither be looked up nor written down.
    """

    def once(pairs: list[tuple[str, Any]]) -> None:
        if len(dict(pairs)) != len(pairs):
            msg = "a name stands twice"
            raise ValueError(msg)

    json.loads(raw.decode("utf-8"), object_pairs_hook=once)
    return msgspec.json.decode(raw, type=kind)


def _decode_part(part: str) -> bytes:
    """Decode base64url, refusing every spelling but the canonical one (RFC 4648, 3.5)."""
    raw = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        msg = "not canonical base64url"
        raise ValueError(msg)
    return raw


def _invalid() -> UnauthenticatedError:
    """Return one answer for every bad token, so that nothing is learnt from it."""
    return UnauthenticatedError("the access token is not valid", remedy="sign in again")
