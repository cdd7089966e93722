"""The keys that sign tokens, and under which name the hall signs."""

from base64 import urlsafe_b64encode
from bisect import insort
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.jwk import OKPKey

from moothall.core.errors import ConfigurationError
from moothall.core.units import SECOND_MS
from moothall.ports.clock import Clock
from moothall.ports.database import Database, Transaction
from moothall.ports.entropy import Entropy
from moothall.services.identity.model import SigningKey
from moothall.services.identity.rules.keys import choose_current
from moothall.services.identity.store import keys as stored

KNOWN_AFTER_MS = 3 * SECOND_MS
"""After how long every node knows a key: one that has not looked for 2 s lets nobody in
(``action/tail.py``)."""

RETIRED_KEPT = 100
"""Of so many keys that were retired last a node knows that they are, so that none comes back by the
hook of a commit of its own that made it."""


class SealedKeyRing:
    """Ed25519 keys, sealed in their rows with AES-256-GCM. Implements KeyRing and Learner.

    It is changed when the transaction that changed the rows has committed. ``generation`` is
    a plain attribute, because every call looks at it.

    Attributes:
        known_after_ms: How long before it signs a key must be published, so that all nodes of
            the hall know it by then; 0 where there is one.
    """

    topic = "identity.key"

    def __init__(
        self, key: bytes, entropy: Entropy, clock: Clock, *, is_shared: bool = False
    ) -> None:
        """Seal with ``key``, 32 bytes for nothing else."""
        self.known_after_ms = KNOWN_AFTER_MS if is_shared else 0
        self._aead = AESGCM(key)
        self._entropy = entropy
        self._clock = clock
        self._keys: dict[str, OKPKey] = {}
        self._order: list[SigningKey] = []
        self._retired: list[str] = []
        self.generation = 0

    async def load(self, tx: Transaction) -> None:
        """Read the keys; make the first one in a fresh hall.

        Raises:
            ConfigurationError: The key file does not open what is sealed here.
        """
        rows = await stored.list_sealed(tx)
        if not rows:
            now_ms = self._clock.now_ms()
            first, sealed = self.make(now_ms, now_ms)
            await stored.insert_key(tx, first, sealed)
            rows = [(first, sealed)]
        self._take(rows)

    async def relearn(self, database: Database, keys: Sequence[str]) -> None:  # noqa: ARG002
        """Read all keys anew: there are few."""

        async def read(tx: Transaction) -> tuple[list[tuple[SigningKey, bytes]], list[str]]:
            return await stored.list_sealed(tx), await stored.list_retired(tx, RETIRED_KEPT)

        while True:
            generation = self.generation
            rows, retired = await database.read(read)
            if generation == self.generation:
                break  # no commit of this node has changed them while they were read
        self._retired = retired
        if [key for key, _ in rows] != self._order:
            self._take(rows)

    def make(self, begins_at_ms: int, now_ms: int) -> tuple[SigningKey, bytes]:
        """Return a new key and its sealed part, which signs nothing before :meth:`publish`."""
        key = SigningKey(begins_at_ms, now_ms, self._entropy.random_bytes(8).hex())
        nonce = self._entropy.random_bytes(12)
        private = Ed25519PrivateKey.from_private_bytes(self._entropy.random_bytes(32))
        raw = private.private_bytes_raw()
        return key, nonce + self._aead.encrypt(nonce, raw, key.kid.encode())

    async def publish(self, tx: Transaction, key: SigningKey, sealed: bytes) -> None:
        """Keep a key, and know it on every node once that is durable."""
        await stored.insert_key(tx, key, sealed)
        tx.on_commit(lambda: self._add(key, sealed))
        await tx.tell_nodes(self.topic, key.kid)

    async def retire(self, tx: Transaction, kid: str, now_ms: int) -> bool:
        """Let a key verify nothing once that is durable; False if it is retired already."""
        if not await stored.update_retired(tx, kid, now_ms):
            return False
        tx.on_commit(lambda: self._remove(kid))
        await tx.tell_nodes(self.topic, kid)
        return True

    def _take(self, rows: Sequence[tuple[SigningKey, bytes]]) -> None:
        """Know these keys, given in their order, and no other."""
        self._keys = {key.kid: self.open_sealed(key.kid, sealed) for key, sealed in rows}
        self._order = [key for key, _ in rows]
        self.generation += 1

    def _add(self, key: SigningKey, sealed: bytes) -> None:
        """Publish a key whose row has been committed.

        Unless a notice told of it before, or that another node has retired it since.
        """
        if key.kid in self._keys or key.kid in self._retired:
            return
        self._keys[key.kid] = self.open_sealed(key.kid, sealed)
        insort(self._order, key, key=lambda each: each.turn)
        self.generation += 1

    def _remove(self, kid: str) -> None:
        """Let a key verify nothing from now on, and forget it."""
        self._keys.pop(kid, None)
        self._order = [key for key in self._order if key.kid != kid]
        self.generation += 1

    def signing_key(self) -> OKPKey:
        """Return the key whose time it is."""
        return self._keys[choose_current(self._order, self._clock.now_ms()).kid]

    def verifying_key(self, kid: str) -> OKPKey | None:
        """Return the key of that id, unless it is unknown or retired."""
        return self._keys.get(kid)

    def public_jwks(self) -> dict[str, object]:
        """Return the public halves of all that sign, will sign, or have signed (RFC 7517)."""
        return {"keys": [self._keys[key.kid].as_dict(private=False) for key in self._order]}

    def open_sealed(self, kid: str, sealed: bytes) -> OKPKey:
        """Open one sealed key.

        Raises:
            ConfigurationError: It was sealed by another sealing key.
        """
        try:
            raw = self._aead.decrypt(sealed[:12], sealed[12:], kid.encode())
        except (InvalidTag, ValueError):
            msg = "the sealing key does not open the signing keys; restore the key file"
            raise ConfigurationError(msg) from None
        private = Ed25519PrivateKey.from_private_bytes(raw)
        fields: dict[str, str | list[str]] = {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": encode_base64url(private.public_key().public_bytes_raw()),
            "d": encode_base64url(raw),
            "kid": kid,
            "use": "sig",
            "alg": "EdDSA",
        }
        return OKPKey.import_key(fields)


class TokenIssuer:
    """Under which name this hall signs, and for whom."""

    def __init__(self, issuer: str, audience: str) -> None:
        """Take the hall's own names."""
        self.issuer = issuer
        self.audience = audience


def encode_base64url(raw: bytes) -> str:
    """Encode without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
