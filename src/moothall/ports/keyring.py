"""KeyRing: the keys that sign access tokens."""

from typing import Protocol

from joserfc.jwk import OKPKey


class KeyRing(Protocol):
    """Signing keys by id. One signs, all that are not retired verify.

    A key is published before it signs, and verifies until the last token it signed has
    expired, so that no valid token is ever refused for a change of keys.
    """

    @property
    def generation(self) -> int:
        """A number that changes whenever a key joins or retires.

        Whoever remembers what a key has verified forgets it when this changes.
        """
        ...

    def signing_key(self) -> OKPKey:
        """Return the Ed25519 key that signs now; its ``kid`` is set."""
        ...

    def verifying_key(self, kid: str) -> OKPKey | None:
        """Return the key of that id, or None if it is unknown or retired."""
        ...

    def public_jwks(self) -> dict[str, object]:
        """Return the public halves as a JWK set (RFC 7517)."""
        ...
