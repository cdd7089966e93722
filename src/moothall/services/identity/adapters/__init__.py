"""What the identity room gives the framework, and what its own actions use."""

from collections.abc import Mapping

from moothall.action import Resources
from moothall.ports.hasher import PasswordHasher
from moothall.ports.keyring import KeyRing, Sessions
from moothall.services.identity.adapters.hashing import Argon2Pool
from moothall.services.identity.adapters.keys import SealedKeyRing, TokenIssuer
from moothall.services.identity.adapters.sessions import EndedSessions, RefreshSeal


def provide(resources: Resources) -> Mapping[type, object]:
    """Return the adapters by port."""
    return {
        KeyRing: SealedKeyRing(
            resources.derive_key("signing keys"), resources.entropy, resources.clock
        ),
        EndedSessions: (ended := EndedSessions(resources.clock)),
        Sessions: ended,
        RefreshSeal: RefreshSeal(resources.derive_key("refresh tokens")),
        PasswordHasher: Argon2Pool(),
        TokenIssuer: TokenIssuer(resources.issuer, resources.audience),
    }
