"""Signing keys that change, and tokens for one resource server each."""

import json
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import OKPKey

from moothall.action.token import LIFE_SECONDS, SKEW_SECONDS, TokenVerifier, sign_token
from moothall.core.errors import ConfigurationError, UnauthenticatedError
from moothall.services.identity.adapters.keys import KNOWN_AFTER_MS
from moothall.services.identity.adapters.sessions import EndedSessions
from moothall.services.identity.model import KeySettings, KeyState, SigningKey
from moothall.services.identity.rules.keys import (
    VERIFIES_ON_MS,
    choose_current,
    choose_retired,
    is_rotation_due,
    is_rotation_pending,
    read_cursor,
    show_cursor,
    show_key,
)
from moothall.testing import ManualClock, OpenHall, ProblemError, Visitor, open_test_hall
from moothall.testing.hall import ISSUER
from tests.unit.services.identity.server_calls import rotate_now

DEFAULT = KeySettings()
AHEAD_MS, EVERY_MS = DEFAULT.publish_ahead_ms, DEFAULT.rotate_every_ms
SCORES, SHOP = "https://scores.example", "urn:shop"


def published(hall: OpenHall) -> list[str]:
    """Return the ids of the keys that everybody can fetch."""
    return [key["kid"] for key in json.loads(hall.hall.public_jwks())["keys"]]


def kid_of(token: str) -> str:
    return str(json.loads(_raw(token.split(".", maxsplit=1)[0]))["kid"])


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_raw(token.split(".")[1]))
    return found


def _raw(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


async def is_in(hall: OpenHall, who: Visitor) -> bool:
    return (await hall.answer("identity.get_self", token=who.token)).problem is None


async def states(hall: OpenHall, boss: Visitor) -> dict[str, str]:
    page = await hall.call("identity.list_keys", as_=boss)
    return {key.kid: key.state.value for key in page.keys}


async def refused(hall: OpenHall, action: str, request: Any, who: Visitor) -> ProblemError:
    with pytest.raises(ProblemError) as refusal:
        await hall.call(action, request, as_=who)
    return refusal.value


class FetchedKeys:
    """What a resource server knows: the keys as it fetched them last, and nothing private."""

    def __init__(self, hall: OpenHall) -> None:
        self.generation = 0
        self.hall = hall
        self.keys: dict[str, OKPKey] = {}
        self.fetch()

    def fetch(self) -> None:
        fetched = json.loads(self.hall.hall.public_jwks())["keys"]
        self.keys = {key["kid"]: OKPKey.import_key(key) for key in fetched}
        self.generation += 1

    def signing_key(self) -> OKPKey:
        raise NotImplementedError

    def verifying_key(self, kid: str) -> OKPKey | None:
        return self.keys.get(kid)

    def public_jwks(self) -> dict[str, object]:
        return {}


class Server:
    """A resource server: it verifies offline."""

    def __init__(self, hall: OpenHall, audience: str) -> None:
        self.keys = FetchedKeys(hall)
        # Cut off, it learns of no end of a session.
        ended = EndedSessions(hall.clock)
        self.verifier = TokenVerifier(
            self.keys, ended, hall.clock, issuer=ISSUER, audience=audience
        )

    def takes(self, token: str) -> bool:
        try:
            self.verifier.verify(token)
        except UnauthenticatedError:
            return False
        return True


# --- decisions ------------------------------------------------------------------------------------

A, B, C = SigningKey(100, 90, "a"), SigningKey(200, 150, "b"), SigningKey(900, 250, "c")


@pytest.mark.requirement("R2")
@pytest.mark.parametrize(
    ("now_ms", "kid"), [(100, "a"), (199, "a"), (200, "b"), (899, "b"), (900, "c"), (5, "a")]
)
def test_the_key_signs_whose_time_it_is(now_ms: int, kid: str) -> None:
    assert choose_current([A, B, C], now_ms).kid == kid
    assert is_rotation_pending([A, B, C], now_ms) is (kid != "c")


@pytest.mark.requirement("R2")
def test_a_key_retires_when_its_last_token_has_expired() -> None:
    end_ms = B.begins_at_ms + VERIFIES_ON_MS
    assert VERIFIES_ON_MS >= LIFE_SECONDS * 1_000 + SKEW_SECONDS * 1_000
    assert choose_retired([A, B], end_ms - 1) == []
    assert choose_retired([A, B], end_ms) == [A]
    assert choose_retired([B], end_ms * 9) == [], "the last one never does"
    assert show_key(A, [A, B], 300).retires_at_ms == end_ms
    assert [show_key(key, [A, B, C], 300).state for key in (A, B, C)] == [
        KeyState.OLD,
        KeyState.CURRENT,
        KeyState.NEXT,
    ]
    gone = SigningKey(100, 90, "a", 700)
    assert show_key(gone, [B, C], 800).state is KeyState.RETIRED


@pytest.mark.requirement("R2")
def test_rotation_is_due_in_time_and_once() -> None:
    settings = KeySettings(keys_max=3)
    due_ms = B.begins_at_ms + EVERY_MS - AHEAD_MS
    assert not is_rotation_due([B], settings, due_ms - 1)
    assert is_rotation_due([B], settings, due_ms)
    pending = SigningKey(due_ms + AHEAD_MS, due_ms, "d")
    assert not is_rotation_due([B, pending], settings, due_ms)
    assert not is_rotation_due([A, A, B], settings, due_ms), "there is no room"


def test_cursor_of_a_key_is_read_as_it_was_shown() -> None:
    assert read_cursor(show_cursor(B)) == B.turn == (200, 150, "b")


# --- rotation -------------------------------------------------------------------------------------


@pytest.mark.requirement("R2")
async def test_a_new_key_is_published_before_it_signs_and_tokens_in_flight_stay_good(
    hall: OpenHall, boss: Visitor
) -> None:
    [first] = published(hall)
    made = await hall.call("identity.rotate_keys", as_=boss)
    assert (made.state, made.begins_at_ms) == (KeyState.NEXT, hall.clock.now_ms() + AHEAD_MS)
    assert published(hall) == [first, made.kid]
    server = Server(hall, ISSUER)  # it fetches now, and not again

    hall.clock.advance(AHEAD_MS - 1)
    in_flight = await hall.sign_in("boss")
    assert kid_of(in_flight.token) == first
    hall.clock.advance(1)
    renewed = await hall.sign_in("boss")
    assert kid_of(renewed.token) == made.kid
    assert server.takes(renewed.token), "known before it signed"
    assert await states(hall, renewed) == {first: "old", made.kid: "current"}

    hall.clock.advance((LIFE_SECONDS - 1) * 1_000 - 1)  # it ends with a whole second
    await hall.run_job("identity.retire_keys")
    assert await is_in(hall, in_flight)
    assert server.takes(in_flight.token)
    assert published(hall) == [first, made.kid]


@pytest.mark.requirement("R2")
async def test_an_old_key_is_retired_by_itself_and_leaves_no_private_part(
    hall: OpenHall, boss: Visitor
) -> None:
    [first] = published(hall)
    forged_with = hall.hall.keys.signing_key()
    made = await rotate_now(hall, boss)
    hall.clock.advance(VERIFIES_ON_MS - 1)
    await hall.run_job("identity.retire_keys")
    assert published(hall) == [first, made.kid]
    hall.clock.advance(1)
    await hall.run_job("identity.retire_keys")
    assert published(hall) == [made.kid]
    assert await hall.rows("SELECT sealed_hex FROM identity_key WHERE kid = $1", first) == [("",)]
    again = await hall.sign_in("boss")
    assert await states(hall, again) == {first: "retired", made.kid: "current"}

    # Whoever kept a copy of the key signs in vain from now on.
    class Stolen(FetchedKeys):
        def signing_key(self) -> OKPKey:
            return forged_with

    token, _ = sign_token(
        Stolen(hall),
        issuer=ISSUER,
        audience=ISSUER,
        member_id=boss.member_id,
        session_id=again.session_id,
        session_expires_at_ms=hall.clock.now_ms() + 10**9,
        token_id="0" * 24,
        now_ms=hall.clock.now_ms(),
    )
    assert kid_of(token) == first
    assert not await is_in(hall, Visitor("", "", "", token))
    assert not Server(hall, ISSUER).takes(token)


@pytest.mark.requirement("R2")
async def test_in_an_emergency_the_new_key_signs_at_once(hall: OpenHall, boss: Visitor) -> None:
    [first] = published(hall)
    server = Server(hall, ISSUER)
    made = await hall.call("identity.rotate_keys", {"now": True}, as_=boss)
    if hall.hall.database.engine == "sqlite":  # of several nodes all must know it before
        assert (made.state, made.begins_at_ms) == (KeyState.CURRENT, hall.clock.now_ms())
    else:
        assert made.begins_at_ms == hall.clock.now_ms() + KNOWN_AFTER_MS
        hall.clock.advance(KNOWN_AFTER_MS)
    renewed = await hall.sign_in("boss")
    assert kid_of(renewed.token) == made.kid
    assert await is_in(hall, boss), "signed by the old key, which still verifies"
    assert not server.takes(renewed.token)
    server.keys.fetch()
    assert server.takes(renewed.token)
    assert server.takes(boss.token)
    assert published(hall) == [first, made.kid]


@pytest.mark.requirement("R2")
async def test_a_compromised_key_is_refused_at_the_next_call(hall: OpenHall, boss: Visitor) -> None:
    [first] = published(hall)
    server = Server(hall, ISSUER)
    ada = await hall.member("ada")
    assert await is_in(hall, ada)  # so it is remembered
    assert server.takes(ada.token)
    done = await hall.call("identity.retire_key", {"kid": first}, as_=boss)
    assert (done.state, done.retires_at_ms) == (KeyState.RETIRED, hall.clock.now_ms())
    assert not await is_in(hall, ada)
    assert not await is_in(hall, boss)
    server.keys.fetch()
    assert not server.takes(ada.token), "remembered there too"
    [new] = published(hall)
    assert new != first
    renewed = await hall.sign_in("boss")
    assert kid_of(renewed.token) == new
    assert server.takes(renewed.token)
    kinds = [event.kind for event in await hall.events("identity") if "key" in event.kind]
    assert kinds == ["identity.key_retired", "identity.key_made"]


@pytest.mark.requirement("R2", "R5")
async def test_sessions_outlive_the_key_that_signed_their_tokens(
    hall: OpenHall, boss: Visitor
) -> None:
    fields = {"name": "boss", "password": "correct horse battery staple"}
    opened = await hall.call("identity.open_session", fields)
    await hall.call("identity.retire_key", {"kid": published(hall)[0]}, as_=boss)
    request = {"refresh_token": opened.refresh_token}
    again = await hall.call("identity.refresh_session", request)
    assert await is_in(hall, Visitor("", "", "", again.access_token))


@pytest.mark.requirement("R2")
async def test_a_key_that_waits_can_be_retired_and_never_signs(
    hall: OpenHall, boss: Visitor
) -> None:
    [first] = published(hall)
    made = await hall.call("identity.rotate_keys", as_=boss)
    await hall.call("identity.retire_key", {"kid": made.kid}, as_=boss)
    assert published(hall) == [first]
    assert await is_in(hall, boss)
    hall.clock.advance(AHEAD_MS)
    assert kid_of((await hall.sign_in("boss")).token) == first


@pytest.mark.requirement("R2")
@pytest.mark.parametrize("now", [False, True])
async def test_rotations_are_bounded(tmp_path: Path, now: bool) -> None:  # noqa: FBT001 - a parameter
    async with open_test_hall(tmp_path, tables={"keys": {"keys_max": 3}}) as hall:
        boss = await hall.administrator("boss")
        await hall.call("identity.rotate_keys", {"now": now}, as_=boss)
        if now:
            await hall.call("identity.rotate_keys", {"now": now}, as_=boss)
        before = await hall.rows("SELECT * FROM identity_key")
        refusal = await refused(hall, "identity.rotate_keys", {"now": now}, boss)
        expected = (
            ("resource_exhausted", "too_many_keys")
            if now
            else ("failed_precondition", "rotation_pending")
        )
        assert (refusal.code, refusal.name) == expected
        assert refusal.details["remedy"]
        assert await hall.rows("SELECT * FROM identity_key") == before
        assert len(published(hall)) == len(before)


@pytest.mark.requirement("R2")
async def test_keys_rotate_by_themselves(hall: OpenHall) -> None:
    [first] = published(hall)
    hall.clock.advance(EVERY_MS - AHEAD_MS - 1)
    await hall.run_job("identity.rotate_due_keys")
    assert published(hall) == [first]
    hall.clock.advance(1)
    for _ in range(2):
        await hall.run_job("identity.rotate_due_keys")
    assert len(published(hall)) == 2
    hall.clock.advance(AHEAD_MS)
    member = await hall.member("ada")
    assert [kid_of(member.token)] == published(hall)[1:]
    await hall.run_job("identity.rotate_due_keys")
    assert len(published(hall)) == 2
    rows = await hall.rows(
        "SELECT actor, outcome FROM access_audit WHERE action = $1", "identity.rotate_due_keys"
    )
    assert rows == [("room:identity", "done")], "one that did nothing is not told of"


async def test_records_of_retired_keys_are_forgotten_in_the_end(
    hall: OpenHall, boss: Visitor
) -> None:
    [first] = published(hall)
    await hall.call("identity.retire_key", {"kid": first}, as_=boss)
    for _ in range(2):
        hall.clock.advance(DEFAULT.retired_kept_ms)
        await rotate_now(hall, await hall.sign_in("boss"))
        hall.clock.advance(VERIFIES_ON_MS)
        await hall.run_job("identity.retire_keys")
        left = {row[0] for row in await hall.rows("SELECT kid FROM identity_key")}
        assert first not in left
        assert len(left) == 2, "the one that signs and the one before"


@pytest.mark.requirement("R20")
@pytest.mark.parametrize(
    ("action", "request_", "permission"),
    [
        ("list_keys", {}, "keys:rotate"),
        ("rotate_keys", {"now": True}, "keys:rotate"),
        ("retire_key", {"kid": "x"}, "keys:rotate"),
        ("add_audience", {"audience": SCORES}, "audiences:manage"),
        ("list_audiences", {}, "audiences:manage"),
        ("remove_audience", {"audience": SCORES}, "audiences:manage"),
    ],
)
async def test_keys_and_audiences_are_for_those_who_were_given_them(
    hall: OpenHall, boss: Visitor, action: str, request_: dict[str, Any], permission: str
) -> None:
    ada = await hall.member("ada")
    before = published(hall)
    refusal = await refused(hall, f"identity.{action}", request_, ada)
    assert (refusal.code, refusal.details["permission"]) == ("permission_denied", permission)
    assert published(hall) == before
    await hall.call("access.grant_role", {"member": "ada", "role": "key_manager"}, as_=boss)
    reply = await hall.answer(f"identity.{action}", request_, token=ada.token)
    assert reply.problem is None or reply.problem.code == "not_found"


@pytest.mark.requirement("R2")
async def test_retiring_what_is_no_key_says_so(hall: OpenHall, boss: Visitor) -> None:
    [first] = published(hall)
    await rotate_now(hall, boss)
    await hall.call("identity.retire_key", {"kid": first}, as_=boss)
    boss = await hall.sign_in("boss")
    for kid in (first, "0123456789abcdef"):
        refusal = await refused(hall, "identity.retire_key", {"kid": kid}, boss)
        assert (refusal.code, refusal.name) == ("not_found", "key_not_found")
        assert refusal.details == {"kid": kid, "remedy": "see identity.list_keys"}


@pytest.mark.requirement("R2")
@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_list_shows_each_key_once_newest_first_and_nothing_private(
    hall: OpenHall, boss: Visitor, limit: int
) -> None:
    for _ in range(4):
        await rotate_now(hall, boss)
    await hall.call("identity.retire_key", {"kid": published(hall)[1]}, as_=boss)
    boss = await hall.sign_in("boss")
    seen: list[Any] = []
    after = ""
    for _ in range(9):
        request = {"after": after, "limit": limit}
        page = await hall.call("identity.list_keys", request, as_=boss)
        seen += page.keys
        if page.next is None:
            break
        after = page.next
    assert [key.state.value for key in seen] == ["current", "old", "old", "retired", "old"]
    assert len({key.kid for key in seen}) == 5
    reply = await hall.answer("identity.list_keys", token=boss.token)
    assert reply.body is not None
    for (sealed,) in await hall.rows("SELECT sealed_hex FROM identity_key WHERE sealed_hex <> ''"):
        assert sealed.encode() not in reply.body
    bad = await refused(hall, "identity.list_keys", {"after": "x.y"}, boss)
    assert (bad.code, bad.details["field"]) == ("invalid_argument", "after")


# --- restarts -------------------------------------------------------------------------------------


@pytest.mark.requirement("R2", "R5")
async def test_a_restart_in_each_state_changes_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_test_hall(tmp_path, clock=clock) as hall:
        boss = await hall.administrator("boss")
        retired = published(hall)[0]
        await rotate_now(hall, boss)
        old = published(hall)[1]
        in_flight = await hall.sign_in("boss")
        await hall.call("identity.retire_key", {"kid": retired}, as_=in_flight)
        await hall.call("identity.rotate_keys", as_=in_flight)
        before = published(hall)
    async with open_test_hall(tmp_path, clock=clock) as hall:  # one signs, one waits
        assert published(hall) == before
        assert not await is_in(hall, boss), "signed by the retired key"
        assert await is_in(hall, in_flight)
        assert kid_of((await hall.sign_in("boss")).token) == old
        clock.advance(AHEAD_MS - 1)
        in_flight = await hall.sign_in("boss")
        clock.advance(1)
    async with open_test_hall(tmp_path, clock=clock) as hall:  # its time came meanwhile
        assert published(hall) == before
        assert await is_in(hall, in_flight)
        signed = await hall.sign_in("boss")
        assert kid_of(signed.token) == before[1]
        assert await states(hall, signed) == {
            retired: "retired",
            before[0]: "old",
            before[1]: "current",
        }
        clock.advance(VERIFIES_ON_MS)
    async with open_test_hall(tmp_path, clock=clock) as hall:  # nobody retired it in time
        await hall.run_job("identity.retire_keys")
        assert published(hall) == before[1:]
    async with open_test_hall(tmp_path, clock=clock) as hall:
        assert published(hall) == before[1:]
        assert kid_of((await hall.sign_in("boss")).token) == before[1]


@pytest.mark.requirement("R2")
async def test_sealed_keys_are_opened_by_the_key_file_only(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        boss = await hall.administrator("boss")
        await hall.call("identity.rotate_keys", as_=boss)
        before = published(hall)
    file = tmp_path / "hall" / "sealing.key"
    own = file.read_bytes()
    async with open_test_hall(tmp_path / "other"):
        foreign = (tmp_path / "other" / "hall" / "sealing.key").read_bytes()
    file.write_bytes(foreign)
    with pytest.raises(ConfigurationError, match="sealing key"):
        async with open_test_hall(tmp_path):
            pass
    file.write_bytes(own)
    async with open_test_hall(tmp_path) as hall:
        assert published(hall) == before


# --- tokens for resource servers ------------------------------------------------------------------


@pytest.mark.requirement("R3")
async def test_a_token_for_one_server_is_refused_at_another_and_at_this_hall(
    hall: OpenHall, boss: Visitor
) -> None:
    ada = await hall.member("ada")
    for audience in (SCORES, SHOP):
        await hall.call("identity.add_audience", {"audience": audience}, as_=boss)
    servers = {audience: Server(hall, audience) for audience in (SCORES, SHOP, ISSUER)}
    for audience in (SCORES, SHOP):
        issued = await hall.call("identity.issue_token", {"audience": audience}, as_=ada)
        assert issued.audience == audience
        assert issued.access_expires_at_ms == hall.clock.now_ms() + LIFE_SECONDS * 1_000
        taken = {name for name, server in servers.items() if server.takes(issued.access_token)}
        assert taken == {audience}
        assert not await is_in(hall, Visitor("", "", "", issued.access_token))
    taken = {name for name, server in servers.items() if server.takes(ada.token)}
    assert taken == {ISSUER}, "the hall's own token is for the hall"


@pytest.mark.requirement("R3")
async def test_a_token_says_what_rfc_9068_asks_for(hall: OpenHall, boss: Visitor) -> None:
    await hall.call("identity.add_audience", {"audience": SCORES}, as_=boss)
    ada = await hall.member("ada")
    tokens = [
        (await hall.call("identity.issue_token", {"audience": SCORES}, as_=ada)).access_token
        for _ in range(2)
    ]
    header = json.loads(_raw(tokens[0].split(".")[0]))
    assert header == {"typ": "at+jwt", "alg": "EdDSA", "kid": published(hall)[0]}
    first, second = map(claims_of, tokens)
    now_s = hall.clock.now_ms() // 1_000
    assert first.pop("jti") != second.pop("jti"), "each has a name of its own"
    assert first == second
    assert first == {
        "iss": ISSUER,
        "sub": ada.member_id,
        "aud": SCORES,
        "client_id": "moothall",
        "iat": now_s,
        "exp": now_s + LIFE_SECONDS,
        "sid": ada.session_id,
        "name": "ada",
    }


@pytest.mark.requirement("R3", "R5")
async def test_a_token_for_a_server_does_not_outlive_its_session(
    hall: OpenHall, boss: Visitor
) -> None:
    await hall.call("identity.add_audience", {"audience": SCORES}, as_=boss)
    ada = await hall.member("ada")
    soon_ms = hall.clock.now_ms() + 10_000

    async def shorten(tx: Any) -> None:
        sql = "UPDATE identity_session SET lapses_at_ms = $1 WHERE session_id = $2"
        await tx.execute(sql, soon_ms, ada.session_id)

    await hall.hall.database.write(shorten)
    issued = await hall.call("identity.issue_token", {"audience": SCORES}, as_=ada)
    assert issued.access_expires_at_ms == soon_ms
    await hall.call("identity.close_session", as_=ada)
    refusal = await refused(hall, "identity.issue_token", {"audience": SCORES}, ada)
    assert refusal.code == "unauthenticated"


@pytest.mark.requirement("R3")
@pytest.mark.parametrize(
    "audience", [SHOP, SCORES + "/", SCORES.upper(), "HTTPS://scores.example", ISSUER]
)
async def test_no_token_is_signed_for_a_name_that_nobody_registered(
    hall: OpenHall, boss: Visitor, audience: str
) -> None:
    await hall.call("identity.add_audience", {"audience": SCORES}, as_=boss)
    refusal = await refused(hall, "identity.issue_token", {"audience": audience}, boss)
    assert (refusal.code, refusal.name) == ("not_found", "audience_not_found")
    assert refusal.details["audience"] == audience
    removal = await refused(hall, "identity.remove_audience", {"audience": audience}, boss)
    assert (removal.code, removal.name) == ("not_found", "audience_not_found")


@pytest.mark.requirement("R3")
@pytest.mark.parametrize(
    "audience",
    ["", "scores", "*", ":x", SCORES + " ", SCORES + "\n", "https://é.example", SCORES + "#x",
     ISSUER, "https://" + "x" * 250],
)  # fmt: skip
async def test_a_server_is_named_by_a_uri_that_is_not_the_hall(
    hall: OpenHall, boss: Visitor, audience: str
) -> None:
    refusal = await refused(hall, "identity.add_audience", {"audience": audience}, boss)
    assert (refusal.code, refusal.details["field"]) == ("invalid_argument", "audience")
    assert await hall.rows("SELECT * FROM identity_audience") == []


@pytest.mark.requirement("R3")
async def test_servers_are_added_listed_and_removed(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path, tables={"tokens": {"audiences_max": 3}}) as hall:
        boss = await hall.administrator("boss")
        names = [f"urn:server:{number}" for number in range(3)]
        for name in names:
            request = {"audience": name, "summary": "a server"}
            added = await hall.call("identity.add_audience", request, as_=boss)
            assert (added.added_by, added.added_at_ms) == (boss.member_id, hall.clock.now_ms())
        again = await refused(hall, "identity.add_audience", {"audience": names[0]}, boss)
        assert (again.code, again.name) == ("already_exists", "audience_exists")
        full = await refused(hall, "identity.add_audience", {"audience": SHOP}, boss)
        assert (full.code, full.name) == ("resource_exhausted", "too_many_audiences")

        page = await hall.call("identity.list_audiences", {"limit": 2}, as_=boss)
        rest = await hall.call(
            "identity.list_audiences", {"after": page.next, "limit": 2}, as_=boss
        )
        assert [one.audience for one in [*page.audiences, *rest.audiences]] == names
        assert rest.next is None

        await hall.call("identity.remove_audience", {"audience": names[0]}, as_=boss)
        refusal = await refused(hall, "identity.issue_token", {"audience": names[0]}, boss)
        assert refusal.name == "audience_not_found"
        await hall.call("identity.add_audience", {"audience": SHOP}, as_=boss)
        kinds = [event.kind for event in await hall.events("identity") if "audience" in event.kind]
        assert kinds == ["identity.audience_added"] * 3 + [
            "identity.audience_removed",
            "identity.audience_added",
        ]
