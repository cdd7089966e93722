"""What the identity room gives the framework: keys, ended sessions, password hashing."""

import asyncio
import hmac
import os
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc.jwk import OKPKey

from moothall.action import Resources
from moothall.action.token import LIFE_SECONDS
from moothall.core.errors import ConfigurationError, OverloadedError
from moothall.core.units import HOUR_MS, SECOND_MS
from moothall.ports.clock import Clock
from moothall.ports.database import Transaction
from moothall.ports.entropy import Entropy
from moothall.ports.hasher import PasswordHasher
from moothall.ports.keyring import KeyRing, Sessions
from moothall.services.identity import store
from moothall.services.identity.rules import RefreshToken

T = TypeVar("T")

HASH_MEMORY_KIB = 19_456
HASH_PASSES = 2
HASH_LANES = 1
"""Argon2id with 19 MiB, 2 passes, 1 lane: OWASP Password Storage Cheat Sheet."""

HASHES_WAITING_MAX = 64
"""Passwords that may wait for the pool: about a second of work on two cores."""

_ENDED_KEPT_MS = LIFE_SECONDS * SECOND_MS + HOUR_MS
"""An hour longer than tokens live, because the clock may be set in between."""
_ENDED_SWEPT_AT = 10_000


def derive_key(sealing_key: bytes, purpose: str) -> bytes:
    """Return 32 bytes for one purpose (HKDF, RFC 5869)."""
    return HKDF(hashes.SHA256(), 32, None, b"moothall " + purpose.encode()).derive(sealing_key)


class SealedKeyRing:
    """Ed25519 keys, sealed in their rows with AES-256-GCM. Implements the KeyRing port."""

    def __init__(self, sealing_key: bytes, entropy: Entropy, clock: Clock) -> None:
        """Seal with a key derived from ``sealing_key``."""
        self._aead = AESGCM(derive_key(sealing_key, "signing keys"))
        self._entropy = entropy
        self._clock = clock
        self._keys: dict[str, OKPKey] = {}
        self._newest = ""

    async def load(self, tx: Transaction) -> None:
        """Read the keys; make the first one in a fresh hall.

        Raises:
            ConfigurationError: The key file does not open what is sealed here.
        """
        rows = await store.list_keys(tx)
        if not rows:
            kid = self._entropy.random_bytes(8).hex()
            nonce = self._entropy.random_bytes(12)
            private = Ed25519PrivateKey.from_private_bytes(self._entropy.random_bytes(32))
            sealed = nonce + self._aead.encrypt(nonce, private.private_bytes_raw(), kid.encode())
            await store.insert_key(tx, kid, sealed, self._clock.now_ms())
            rows = [(kid, sealed)]
        self._keys = {kid: self._open(kid, sealed) for kid, sealed in rows}
        self._newest = rows[-1][0]

    def signing_key(self) -> OKPKey:
        """Return the newest key."""
        return self._keys[self._newest]

    def verifying_key(self, kid: str) -> OKPKey | None:
        """Return the key of that id, unless it is unknown or retired."""
        return self._keys.get(kid)

    def public_jwks(self) -> dict[str, object]:
        """Return the public halves (RFC 7517)."""
        return {"keys": [key.as_dict(private=False) for key in self._keys.values()]}

    def _open(self, kid: str, sealed: bytes) -> OKPKey:
        """Open one sealed key."""
        try:
            raw = self._aead.decrypt(sealed[:12], sealed[12:], kid.encode())
        except InvalidTag:
            msg = "the sealing key does not open the signing keys; restore the key file"
            raise ConfigurationError(msg) from None
        private = Ed25519PrivateKey.from_private_bytes(raw)
        fields: dict[str, str | list[str]] = {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": _base64url(private.public_key().public_bytes_raw()),
            "d": _base64url(raw),
            "kid": kid,
            "use": "sig",
            "alg": "EdDSA",
        }
        return OKPKey.import_key(fields)


class EndedSessions:
    """Sessions that ended within a token's life. Implements the Sessions port."""

    def __init__(self, clock: Clock) -> None:
        """Begin with none."""
        self._clock = clock
        self._ended: dict[str, int] = {}

    async def load(self, tx: Transaction) -> None:
        """Read those whose tokens may still live, so that a restart forgives nothing."""
        self._ended = dict(await store.list_ended(tx, self._clock.now_ms() - _ENDED_KEPT_MS))

    def has_ended(self, session_id: str) -> bool:
        """Tell whether the session ended."""
        return session_id in self._ended

    def add(self, session_id: str, ended_at_ms: int) -> None:
        """Refuse the session's tokens from now on."""
        self._ended[session_id] = ended_at_ms
        if len(self._ended) % _ENDED_SWEPT_AT == 0:
            since = self._clock.now_ms() - _ENDED_KEPT_MS
            self._ended = {key: ended for key, ended in self._ended.items() if ended > since}


class RefreshSeal:
    """Makes and recognises refresh tokens: ``<session>.<generation>.<HMAC>``.

    The token is a function of session, generation and a key outside the database, so no
    row holds it, a stolen database makes none, and a lost reply can be repeated exactly.
    """

    def __init__(self, sealing_key: bytes) -> None:
        """Authenticate with a key derived from ``sealing_key``."""
        self._key = derive_key(sealing_key, "refresh tokens")

    def token(self, session_id: str, generation: int) -> str:
        """Return the token of one generation."""
        text = f"{session_id}.{generation}"
        mac = hmac.digest(self._key, text.encode(), "sha256")
        return f"{text}.{_base64url(mac)}"

    def open(self, token: str) -> RefreshToken | None:
        """Return the parts of a genuine token, or None."""
        session_id, _, rest = token.partition(".")
        generation = rest.partition(".")[0]
        if not (generation.isascii() and generation.isdigit() and len(generation) <= 9):  # noqa: PLR2004
            return None
        expected = self.token(session_id, int(generation))
        if not hmac.compare_digest(expected.encode(), token.encode()):
            return None
        return RefreshToken(session_id, int(generation))


class Argon2Pool:
    """Argon2id in threads, as many as there are cores. Implements the PasswordHasher port."""

    def __init__(self) -> None:
        """Make a hash to compare with where there is none."""
        self._argon2 = Argon2(HASH_PASSES, HASH_MEMORY_KIB, HASH_LANES)
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="moothall-hash")
        self._running = 0
        self._nobody = self._argon2.hash("the password of nobody")

    async def hash(self, password: str) -> str:
        """Return the hash to keep."""
        return await self._run(lambda: self._argon2.hash(password))

    async def verify(self, known: str | None, password: str) -> bool:
        """Tell whether ``password`` belongs to ``known``; takes its time for None too."""
        return await self._run(lambda: self._matches(known or self._nobody, password)) and bool(
            known
        )

    def is_outdated(self, known: str) -> bool:
        """Tell whether ``known`` was made with other parameters than today's."""
        return self._argon2.check_needs_rehash(known)

    def _matches(self, known: str, password: str) -> bool:
        try:
            return self._argon2.verify(known, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        """Run ``work`` on a thread of the pool, unless too much waits for it."""
        if self._running >= HASHES_WAITING_MAX:
            raise OverloadedError("too many people are signing in", retry_after_ms=1_000)
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._running -= 1


def provide(resources: Resources) -> Mapping[type, object]:
    """Return the adapters by port."""
    return {
        KeyRing: SealedKeyRing(resources.sealing_key, resources.entropy, resources.clock),
        EndedSessions: (ended := EndedSessions(resources.clock)),
        Sessions: ended,
        RefreshSeal: RefreshSeal(resources.sealing_key),
        PasswordHasher: Argon2Pool(),
        TokenIssuer: TokenIssuer(resources.issuer, resources.audience),
    }


class TokenIssuer:
    """Under which name this hall signs, and for whom."""

    def __init__(self, issuer: str, audience: str) -> None:
        """Take the hall's own names."""
        self.issuer = issuer
        self.audience = audience


def _base64url(raw: bytes) -> str:
    """Encode without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
