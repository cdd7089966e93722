"""What the identity room gives the framework on a resource server (decision 0010).

Nobody signs in here and nothing is signed: keys are the issuer's, sessions end at the issuer,
and members are those who have been here. What is learned of the issuer is kept in rows, so that
a restart needs no issuer and forgives nothing.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import structlog
from joserfc.jwk import OKPKey

from moothall.action.token import LIFE_SECONDS, SKEW_SECONDS
from moothall.core.errors import ConfigurationError, UnauthenticatedError
from moothall.core.units import DAY_MS, SECOND_MS
from moothall.ports.clock import Clock
from moothall.ports.database import Database, Transaction
from moothall.services.identity.adapters import sessions
from moothall.services.identity.rules.names import find_key
from moothall.services.identity.store import ended, following, members

ENDED_KEPT_MS = 7 * DAY_MS
"""How long the row of a session that ended is kept. Its tokens live for minutes, but the clock may
be days ahead now and be set right later."""

JWKS_SIZE_BYTES_MAX = 65_536
KEYS_MAX = 64
RETIRED_MAX = 1_000
"""Retired keys that are remembered, so that an answer that was late brings none of them back."""

ASKED_EVERY_SECONDS = 5.0
"""How often a key that is unknown may be a reason to fetch the keys anew."""

ASKED_AT_ONCE = 1_000
"""Members of whom one read asks whether they were removed."""

KNOWN_MAX = 100_000
"""Members whose names are kept in memory; another one is looked up once."""

PAUSE_SECONDS_MAX = 10.0
"""How long at most the feed is not tried again; the first pause is a thirtieth of it."""

IMPORTED, FORMER = "imported", "former"
"""Words behind a name that stepped aside: it was brought in, or belonged to a member."""

_log = structlog.get_logger("moothall.identity")


# --- keys -----------------------------------------------------------------------------------------


class _PublicKey(msgspec.Struct, frozen=True):
    """An Ed25519 key of a JWK set (RFC 8037); everything else in it is left unread."""

    kty: str
    crv: str
    kid: str
    x: str


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[msgspec.Raw]


def read_keys(jwks: bytes) -> dict[str, OKPKey]:
    """Return the Ed25519 keys of a JWK set by their ids; keys of other kinds are left out.

    Raises:
        ValueError: It is none, or holds no such key, or more than can be true.
    """
    if len(jwks) > JWKS_SIZE_BYTES_MAX:
        msg = f"the keys take more than {JWKS_SIZE_BYTES_MAX} bytes"
        raise ValueError(msg)
    found = _find_keys(jwks)
    if not 0 < len(found) <= KEYS_MAX:
        msg = f"there are {len(found)} Ed25519 keys; there must be 1 to {KEYS_MAX}"
        raise ValueError(msg)
    return found


def _find_keys(jwks: bytes) -> dict[str, OKPKey]:
    """Return the Ed25519 keys of a JWK set by their ids."""
    found: dict[str, OKPKey] = {}
    for raw in msgspec.json.decode(jwks, type=_KeySet).keys:
        with contextlib.suppress(msgspec.ValidationError):
            key = msgspec.json.decode(raw, type=_PublicKey)
            if (key.kty, key.crv) == ("OKP", "Ed25519"):
                fields: dict[str, str | list[str]] = msgspec.structs.asdict(key)
                found[key.kid] = OKPKey.import_key(fields)
    return found


def show_keys(keys: dict[str, OKPKey]) -> str:
    """Return keys as they are kept in the row: a JWK set, and public halves only."""
    shown = {"keys": [key.as_dict(private=False) for key in keys.values()]}
    return msgspec.json.encode(shown).decode()


def _read_shown(row: following.IssuerRow) -> dict[str, OKPKey]:
    """Return the keys of the row; there is none if the only one was retired just now."""
    return _find_keys(row.jwks.encode())


class FollowedKeys:
    """The issuer's keys. Implements KeyRing and Learner; it verifies and never signs.

    Each node fetches them for itself; the one that follows the issuer's feed tells the others
    which keys are retired. ``generation`` is a plain attribute, because every call looks at it.
    """

    topic = "identity.issuer_key"

    def __init__(self, clock: Clock) -> None:
        """Begin with none."""
        self._clock = clock
        self._keys: dict[str, OKPKey] = {}
        self._retired: dict[str, None] = {}
        self._asked_at: float | None = None
        self._wanted = asyncio.Event()
        self.generation = 0

    async def load(self, tx: Transaction) -> None:
        """Read the keys that were fetched last, and want newer ones.

        Raises:
            ConfigurationError: No issuer was ever reached.
        """
        row = await following.find_issuer(tx)
        if row is None:
            msg = "issuer: it was never reached, so its keys are not known"
            raise ConfigurationError(msg)
        self._keys = _read_shown(row)
        self.generation += 1
        self.want()

    async def relearn(self, database: Database, keys: Sequence[str]) -> None:
        """Let retired keys verify nothing, and have all fetched anew.

        Without keys, those that were written down last are taken: which ones were retired, nobody
        can tell any more.
        """
        for kid in keys:
            if kid not in self._retired:
                self.retire(kid)
        if not keys:
            await self._read(database)
        self.want()

    async def _read(self, database: Database) -> None:
        """Verify with the keys that were written down last."""
        while True:
            generation = self.generation
            row = await database.read(following.find_issuer)
            if generation == self.generation:
                break  # this node has fetched no others while they were read
        if row is not None:
            self.take(_read_shown(row))

    async def tell_retired(self, tx: Transaction, kid: str) -> None:
        """Let a key verify nothing on the other nodes either, once that is durable."""
        await tx.tell_nodes(self.topic, kid)

    def want(self) -> None:
        """Have the keys fetched now."""
        self._wanted.set()

    async def wait_wanted(self, seconds: float) -> bool:
        """Return True when somebody wants the keys fetched, or False after so many seconds."""
        with contextlib.suppress(TimeoutError):
            # Not wait_for, which may swallow the word that the hall stops (until Python 3.12).
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        is_wanted = self._wanted.is_set()
        self._wanted.clear()
        return is_wanted

    def take(self, keys: dict[str, OKPKey]) -> None:
        """Verify with these keys from now on, and with no other."""
        keys = self.without_retired(keys)
        shown = {kid: key.as_dict(private=False) for kid, key in keys.items()}
        if shown != {kid: key.as_dict(private=False) for kid, key in self._keys.items()}:
            self._keys = keys
            self.generation += 1

    def without_retired(self, keys: dict[str, OKPKey]) -> dict[str, OKPKey]:
        """Return those of ``keys`` that are not known to be retired."""
        return {kid: key for kid, key in keys.items() if kid not in self._retired}

    def retire(self, kid: str) -> dict[str, OKPKey]:
        """Let a key verify nothing from now on, and return those that are left."""
        while len(self._retired) >= RETIRED_MAX:
            del self._retired[next(iter(self._retired))]
        self._retired[kid] = None
        self._keys = self.without_retired(self._keys)
        self.generation += 1
        return self._keys

    def signing_key(self) -> OKPKey:
        """Refuse: nothing that a resource server serves signs a token."""
        msg = "a resource server signs no tokens; its issuer does"
        raise RuntimeError(msg)

    def verifying_key(self, kid: str) -> OKPKey | None:
        """Return the key of that id, or None and have newer keys fetched soon."""
        key = self._keys.get(kid)
        if key is None:
            now = self._clock.monotonic()
            if self._asked_at is None or now - self._asked_at >= ASKED_EVERY_SECONDS:
                self._asked_at = now
                self.want()
        return key

    def public_jwks(self) -> dict[str, object]:
        """Return none: whoever verifies tokens asks the issuer."""
        return {"keys": []}


# --- sessions -------------------------------------------------------------------------------------


class FollowedSessions(sessions.EndedSessions):
    """Sessions that the issuer ended. Implements SessionEnds and Learner."""

    async def _list_ended(self, tx: Transaction) -> set[str]:
        """Return those whose tokens may still live, and some more."""
        since_ms = self._clock.now_ms() - sessions.ENDED_KEPT_MS
        return await ended.list_ended(tx, ended.FOLLOWED, since_ms, sessions.ENDED_LEAST)


# --- the issuer -----------------------------------------------------------------------------------


class IssuerWatch:
    """Whether the issuer answers: told in the log when it changes, and not at each attempt.

    Attributes:
        failures: Attempts that failed, since the last that succeeded.
    """

    def __init__(self) -> None:
        """Begin with an issuer that answers."""
        self._told = ""
        self.failures = 0

    def note_failure(self, what: str, error: Exception) -> None:
        """Note an attempt that failed; the same failure again is not told again."""
        self.failures += 1
        if self._told != what:
            self._told = what
            _log.warning(what, reason=str(error))

    def note_success(self) -> None:
        """Note an attempt that succeeded."""
        if self._told:
            _log.info("the issuer answers again")
        self._told = ""
        self.failures = 0

    async def pause(self, seconds: float | None = None) -> None:
        """Wait before the next attempt: for so long, or longer with each failure."""
        growing = PAUSE_SECONDS_MAX * min(1.0, 2.0 ** (min(self.failures, 10) - 6))
        await asyncio.sleep(growing if seconds is None else seconds)


class KeysWatch(IssuerWatch):
    """Of fetching keys."""


class FeedWatch(IssuerWatch):
    """Of following the feed."""


# --- members --------------------------------------------------------------------------------------


class FollowedMembers:
    """Who has been here, by the names that the issuer tells. Implements Arrivals and Learner."""

    topic = "identity.followed_member"

    def __init__(self) -> None:
        """Begin with nobody in memory."""
        self._known: dict[str, tuple[str, int]] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._relearned = 0

    def listen(self, on_removed: Callable[[str], None]) -> None:
        """Call ``on_removed`` whenever a member was removed."""
        self._listeners.append(on_removed)

    async def relearn(self, database: Database, keys: Sequence[str]) -> None:
        """Forget members who were renamed or removed; the next call of theirs reads the row."""
        self._relearned += 1
        if not keys:
            keys = list(self._known)
        for at in range(0, len(keys), ASKED_AT_ONCE):
            some = keys[at : at + ASKED_AT_ONCE]
            gone = await database.read(partial(following.list_removed, member_ids=some))
            for member_id in gone:
                self._remove(member_id)
            for member_id in some:
                self._known.pop(member_id, None)

    async def remove(self, tx: Transaction, member_id: str) -> None:
        """End the connections of a member who was removed, once that is durable.

        The next call of theirs is refused by the row.
        """
        tx.on_commit(lambda: self._remove(member_id))
        await tx.tell_nodes(self.topic, member_id)

    def knows(self, member_id: str, name: str, expires_at_s: int) -> bool:
        """Tell whether the member is known by this name, or by one told later."""
        known = self._known.get(member_id)
        return known is not None and (known[0] == name or expires_at_s <= known[1])

    async def welcome(
        self, tx: Transaction, member_id: str, name: str, expires_at_s: int, now_ms: int
    ) -> bool:
        """Write down a member who is new here, or a name told by a later token.

        Raises:
            UnauthenticatedError: The member was removed, or the token tells no name.
        """
        known = await following.find_known(tx, member_id)
        if known is not None and known.is_removed:
            raise UnauthenticatedError("the member was removed")
        if not name:
            raise UnauthenticatedError(
                "the access token tells no name", remedy="get one for this resource server"
            )
        named_until_s = None if known is None else known.named_until_s
        if (
            known is not None
            and named_until_s is not None
            and (known.name == name or expires_at_s <= named_until_s)
        ):
            self._remember(tx, member_id, known.name, named_until_s)
            return False
        await self.name(tx, member_id, name, expires_at_s, now_ms)
        return True

    async def rename(self, tx: Transaction, member_id: str, name: str, now_ms: int) -> bool:
        """Give a member who is known here the name that the issuer tells now.

        Tokens that were made before cannot take it back.
        """
        known = await following.find_known(tx, member_id)
        if known is None or known.is_removed or known.named_until_s is None:
            return False
        told_until_s = now_ms // SECOND_MS + LIFE_SECONDS + SKEW_SECONDS
        await self.name(tx, member_id, name, told_until_s, now_ms)
        return known.name != name

    async def name(
        self, tx: Transaction, member_id: str, name: str, until_s: int, now_ms: int
    ) -> None:
        """Write down a member's name; whoever has it here already steps aside.

        The issuer alone says who has which name. So in the way are only names that were imported
        here, and those of members of whose new name, or end, this server has not heard yet.
        """
        key = find_key(name) or f"issuer:{member_id}"  # no name of this hall has a ':'
        for other in await following.list_in_the_way(tx, name, key, member_id):
            word = IMPORTED if other.named_until_s is None else FORMER
            aside, aside_key = await _find_aside(tx, other, word, now_ms)
            await following.update_stepped_aside(tx, other.member_id, aside, aside_key)
            await self._forget(tx, other.member_id)
        if await following.find_known(tx, member_id) is None:
            await following.insert_followed(tx, member_id, name, key, until_s, now_ms)
        else:
            await following.update_followed(tx, member_id, name, key, until_s)
            await tx.tell_nodes(self.topic, member_id)
        self._remember(tx, member_id, name, until_s)

    def _remove(self, member_id: str) -> None:
        """Forget a member who was removed, and tell who listens."""
        self._known.pop(member_id, None)
        for on_removed in self._listeners:
            on_removed(member_id)

    def _drop(self, member_id: str) -> None:
        self._known.pop(member_id, None)

    async def _forget(self, tx: Transaction, member_id: str) -> None:
        """Forget a member who has another name here, once that is durable."""
        tx.on_commit(partial(self._drop, member_id))
        await tx.tell_nodes(self.topic, member_id)

    def _remember(self, tx: Transaction, member_id: str, name: str, until_s: int) -> None:
        """Know a member once the row is durable; who came first goes first.

        The row is locked until then, so what a notice tells that comes before the hook is newer
        than what the hook knows. Then the next call of theirs reads the row.
        """
        relearned = self._relearned

        def keep() -> None:
            if self._relearned != relearned:
                return
            if len(self._known) >= KNOWN_MAX:
                for old in list(self._known)[: KNOWN_MAX // 8]:
                    del self._known[old]
            self._known[member_id] = name, until_s

        tx.on_commit(keep)


async def _find_aside(
    tx: Transaction, other: following.KnownMember, word: str, now_ms: int
) -> tuple[str, str]:
    """Return a name and its key that are free, for somebody who must step aside.

    Nobody can choose such a name: it ends in a parenthesis.
    """
    number = 1
    while True:
        mark = f" ({word})" if number == 1 else f" ({word} {number})"
        name, key = other.name + mark, other.name_key + mark
        if not await members.has_name(tx, name, key, now_ms, but=other.member_id):
            return name, key
        number += 1
