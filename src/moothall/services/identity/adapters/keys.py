"""The keys that sign tokens, and under which name the hall signs."""

from base64 import urlsafe_b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.jwk import OKPKey

from moothall.core.errors import ConfigurationError
from moothall.ports.clock import Clock
from moothall.ports.database import Transaction
from moothall.ports.entropy import Entropy
from moothall.services.identity.store import keys


class SealedKeyRing:
    """Ed25519 keys, sealed in their rows with AES-256-GCM. Implements the KeyRing port."""

    def __init__(self, key: bytes, entropy: Entropy, clock: Clock) -> None:
        """Seal with ``key``, 32 bytes for nothing else."""
        self._aead = AESGCM(key)
        self._entropy = entropy
        self._clock = clock
        self._keys: dict[str, OKPKey] = {}
        self._newest = ""

    async def load(self, tx: Transaction) -> None:
        """Read the keys; make the first one in a fresh hall.

        Raises:
            ConfigurationError: The key file does not open what is sealed here.
        """
        rows = await keys.list_keys(tx)
        if not rows:
            kid = self._entropy.random_bytes(8).hex()
            nonce = self._entropy.random_bytes(12)
            private = Ed25519PrivateKey.from_private_bytes(self._entropy.random_bytes(32))
            sealed = nonce + self._aead.encrypt(nonce, private.private_bytes_raw(), kid.encode())
            await keys.insert_key(tx, kid, sealed, self._clock.now_ms())
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
