"""What the identity room gives the framework, and what its own actions use."""

from collections.abc import Mapping

from moothall.action import Resources
from moothall.ports.activity import Activity
from moothall.ports.arrivals import Arrivals
from moothall.ports.hasher import PasswordHasher
from moothall.ports.keyring import KeyRing
from moothall.ports.sessions import SessionEnds
from moothall.services.identity.adapters.activity import SessionActivity
from moothall.services.identity.adapters.blocklist import CommonPasswords
from moothall.services.identity.adapters.codes import CodeSeal
from moothall.services.identity.adapters.follower import (
    FeedWatch,
    FollowedKeys,
    FollowedMembers,
    FollowedSessions,
    KeysWatch,
)
from moothall.services.identity.adapters.guesses import GuessesUnderWay
from moothall.services.identity.adapters.hashing import Argon2Pool
from moothall.services.identity.adapters.keys import SealedKeyRing, TokenIssuer
from moothall.services.identity.adapters.lockout import MemberLocks, UnknownLocks, UnknownNames
from moothall.services.identity.adapters.names import NameSkeletons
from moothall.services.identity.adapters.recovery import RecoverySeal
from moothall.services.identity.adapters.senders import Senders, check_senders
from moothall.services.identity.adapters.sessions import EndedSessions, RefreshSeal
from moothall.services.identity.model import (
    LockoutSettings,
    RegistrationSettings,
    SessionSettings,
)


def provide(resources: Resources) -> Mapping[type, object]:
    """Return the adapters by port: of a hall that signs people in, or of one that follows it."""
    return _provide_follower(resources) if resources.is_follower else _provide_issuer(resources)


def _provide_follower(resources: Resources) -> Mapping[type, object]:
    ring, ended = FollowedKeys(resources.clock), FollowedSessions(resources.clock)
    return {
        FollowedKeys: ring,
        KeyRing: ring,
        FollowedSessions: ended,
        SessionEnds: ended,
        FollowedMembers: (arrivals := FollowedMembers()),
        Arrivals: arrivals,
        KeysWatch: KeysWatch(),
        FeedWatch: FeedWatch(),
    }


def _provide_issuer(resources: Resources) -> Mapping[type, object]:
    check_senders(resources.use(RegistrationSettings), resources.senders)
    return {
        SealedKeyRing: (
            ring := SealedKeyRing(
                resources.derive_key("signing keys"),
                resources.entropy,
                resources.clock,
                is_shared=resources.is_shared,
            )
        ),
        KeyRing: ring,
        EndedSessions: (ended := EndedSessions(resources.clock)),
        SessionEnds: ended,
        SessionActivity: (
            activity := SessionActivity(
                resources.clock,
                resources.use(SessionSettings),
                ended,
                is_shared=resources.is_shared,
            )
        ),
        Activity: activity,
        RefreshSeal: RefreshSeal(resources.derive_key("refresh tokens")),
        PasswordHasher: Argon2Pool(),
        CommonPasswords: CommonPasswords(),
        MemberLocks: MemberLocks(resources.clock),
        UnknownLocks: UnknownLocks(resources.clock),
        GuessesUnderWay: GuessesUnderWay(
            resources.use(LockoutSettings), is_shared=resources.is_shared
        ),
        UnknownNames: UnknownNames(resources.derive_key("unknown names")),
        RecoverySeal: RecoverySeal(resources.derive_key("recovery codes"), resources.entropy),
        Senders: Senders(resources.senders),
        CodeSeal: CodeSeal(resources.derive_key("codes"), resources.entropy),
        NameSkeletons: NameSkeletons(),
        TokenIssuer: TokenIssuer(resources.issuer, resources.audience),
    }
