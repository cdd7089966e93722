"""The one-time secret of a fresh hall, as each of its nodes derives it."""

import hmac

from moothall.action import Resources

SECRET_BYTES = 16


class ClaimSecrets:
    """Derives one-time secrets from the sealing key, so that none rests in the database."""

    def __init__(self, resources: Resources) -> None:
        """Derive their key."""
        self._key = resources.derive_key("first administrator")

    def derive(self, nonce: str) -> str:
        """Return the secret of a nonce, in hexadecimal digits."""
        return hmac.digest(self._key, nonce.encode(), "sha256")[:SECRET_BYTES].hex()
