"""Accounts and sessions, by calls that take the whole road."""

import asyncio
import dataclasses
from typing import Any

import msgspec
import pytest

from moothall.action.token import sign_token
from moothall.core.errors import OverloadedError
from moothall.ports.hasher import PasswordHasher
from moothall.services.identity.adapters.sessions import RefreshSeal
from moothall.services.identity.rules.sessions import REFRESH_GRACE_MS
from moothall.testing import OpenHall, ProblemError

PASSWORD = "correct horse battery staple"
ALICE = {"name": "alice", "password": PASSWORD}


class WatchedHasher:
    """Counts what is asked of it; its hashes are the passwords themselves."""

    def __init__(self, prefix: str = "new:") -> None:
        self.prefix = prefix
        self.verified: list[str | None] = []
        self.hashed = 0
        self.is_full = False

    async def hash(self, password: str) -> str:
        self.hashed += 1
        return self.prefix + password

    async def verify(self, known: str | None, password: str) -> bool:
        if self.is_full:
            raise OverloadedError("too many people are signing in", retry_after_ms=1_000)
        self.verified.append(known)
        return known is not None and known.partition(":")[2] == password

    def is_outdated(self, known: str) -> bool:
        return not known.startswith(self.prefix)


def watch_hasher(hall: OpenHall, prefix: str = "new:") -> WatchedHasher:
    hasher = WatchedHasher(prefix)
    hall.hall.house.ports[PasswordHasher] = hasher  # type: ignore[index]
    return hasher


async def open_session(hall: OpenHall, name: str = "alice", password: str = PASSWORD) -> Any:
    return await hall.call("identity.open_session", {"name": name, "password": password})


async def refresh(hall: OpenHall, token: str) -> Any:
    return await hall.call("identity.refresh_session", {"refresh_token": token})


async def whoami(hall: OpenHall, token: str) -> str:
    """Return the name of whom the hall takes the bearer for, or the name of the problem."""
    reply = await hall.answer("identity.get_self", token=token)
    if reply.problem is not None:
        return reply.problem.name
    assert reply.body is not None
    return str(msgspec.json.decode(reply.body)["name"])


@pytest.fixture
async def alice(hall: OpenHall) -> Any:
    """The opened session of a member."""
    await hall.call("identity.register", ALICE)
    return await open_session(hall)


# --- registration ---------------------------------------------------------------------------------


@pytest.mark.requirement("R10")
async def test_registration_keeps_the_name_as_it_was_written(hall: OpenHall) -> None:
    member = await hall.call("identity.register", {"name": "Zoë", "password": PASSWORD})
    assert (member.name, member.created_at_ms) == ("Zoë", hall.clock.now_ms())
    [event] = await hall.events("identity")
    assert event.kind == "identity.member_registered"
    assert event.data == {"member_id": member.member_id}, "names stand in no event"


@pytest.mark.requirement("R10")
async def test_name_is_taken_in_every_spelling(hall: OpenHall) -> None:
    await hall.call("identity.register", {"name": "José", "password": PASSWORD})
    hasher = watch_hasher(hall)
    with pytest.raises(ProblemError) as refusal:
        await hall.call(
            "identity.register",
            {"name": "JOSE\N{COMBINING ACUTE ACCENT}", "password": "another one"},
        )
    assert (refusal.value.code, refusal.value.name) == ("already_exists", "name_taken")
    assert refusal.value.details == {"field": "name", "remedy": "choose another name"}
    assert hasher.hashed == 0, "a name that is taken costs the hall no hash"


@pytest.mark.requirement("R10")
async def test_of_many_who_register_one_name_at_once_exactly_one_wins(hall: OpenHall) -> None:
    spellings = ["alice", "Alice", "ALICE", "aLICE"] * 5
    replies = await asyncio.gather(
        *(
            hall.answer("identity.register", {"name": name, "password": PASSWORD})
            for name in spellings
        )
    )
    names = [reply.problem.name if reply.problem else "won" for reply in replies]
    assert sorted(names) == ["name_taken"] * 19 + ["won"]
    assert await hall.rows("SELECT count(*) FROM identity_member") == [(1,)]
    assert len(await hall.events("identity")) == 1


@pytest.mark.requirement("R32")
@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"name": "everyone", "password": PASSWORD}, "name"),
        ({"name": "a" * 65, "password": PASSWORD}, "name"),
        ({"name": "alice", "password": "short"}, "password"),
        ({"name": "alice", "password": "x" * 1_025}, "password"),
        ({"name": "alice"}, "password"),
        ({"name": 5, "password": PASSWORD}, "name"),
        ({**ALICE, "role": "administrator"}, "role"),
    ],
)
async def test_bad_registration_names_its_field_and_makes_nothing(
    hall: OpenHall, request_: dict[str, Any], field: str
) -> None:
    with pytest.raises(ProblemError) as refusal:
        await hall.call("identity.register", request_)
    assert (refusal.value.code, refusal.value.details["field"]) == ("invalid_argument", field)
    assert refusal.value.details["remedy"]
    assert await hall.rows("SELECT count(*) FROM identity_member") == [(0,)]


@pytest.mark.requirement("R6")
async def test_password_of_another_keyboard_signs_in(hall: OpenHall) -> None:
    await hall.call("identity.register", {"name": "zoe", "password": "café au lait"})
    assert await open_session(hall, "zoe", "cafe\N{COMBINING ACUTE ACCENT} au lait")


# --- signing in -----------------------------------------------------------------------------------


@pytest.mark.requirement("R1")
async def test_unknown_name_and_wrong_password_are_answered_and_cost_alike(
    hall: OpenHall,
) -> None:
    boss = await hall.administrator("boss")
    await hall.call("identity.register", ALICE)
    await hall.call("identity.add_members", {"names": ["imported"]}, as_=boss)
    hasher = watch_hasher(hall)
    problems = []
    for name in ("alice", "nobody", "imported", "everyone", "0" * 24, "\N{ZERO WIDTH SPACE}"):
        reply = await hall.answer(
            "identity.open_session", {"name": name, "password": "wrong password"}
        )
        assert reply.problem is not None
        told = dataclasses.replace(reply.problem, request_id="")
        problems.append(msgspec.json.encode(told))
    assert len(set(problems)) == 1, problems
    assert len(hasher.verified) == 6, "each of them costs one hash"
    assert hasher.hashed == 0
    rows = await hall.rows("SELECT count(*) FROM identity_session")
    assert rows == [(1,)], "no session but the administrator's"


@pytest.mark.requirement("R1")
async def test_account_without_a_password_cannot_be_entered(hall: OpenHall) -> None:
    boss = await hall.administrator("boss")
    await hall.call("identity.add_members", {"names": ["imported"]}, as_=boss)
    for password in ("", " ", "None", "the password of nobody", PASSWORD):
        reply = await hall.answer(
            "identity.open_session", {"name": "imported", "password": password}
        )
        assert reply.problem is not None


@pytest.mark.requirement("R6")
async def test_hash_of_old_parameters_is_renewed_at_sign_in(hall: OpenHall) -> None:
    watch_hasher(hall, "old:")
    await hall.call("identity.register", ALICE)
    hasher = watch_hasher(hall, "new:")
    with pytest.raises(ProblemError):
        await open_session(hall, password="wrong password")
    assert await hall.rows("SELECT password_hash FROM identity_member") == [(f"old:{PASSWORD}",)]
    await open_session(hall)
    assert await hall.rows("SELECT password_hash FROM identity_member") == [(f"new:{PASSWORD}",)]
    await open_session(hall)
    assert hasher.hashed == 1, "once is enough"


@pytest.mark.requirement("R35")
async def test_full_pool_answers_when_to_come_again(hall: OpenHall) -> None:
    watch_hasher(hall).is_full = True
    with pytest.raises(ProblemError) as refusal:
        await open_session(hall)
    assert refusal.value.code == "unavailable"
    assert refusal.value.problem.retryable
    assert refusal.value.details["retry_after_ms"] == 1_000


@pytest.mark.requirement("R24")
async def test_secrets_stand_neither_in_the_audit_trail_nor_in_events(
    hall: OpenHall, alice: Any
) -> None:
    await refresh(hall, alice.refresh_token)
    with pytest.raises(ProblemError):
        await open_session(hall, password="a wrong password")
    rows = await hall.rows("SELECT * FROM access_audit")
    text = repr(rows) + repr(await hall.rows("SELECT * FROM action_event"))
    for secret in (PASSWORD, "a wrong password", alice.refresh_token, alice.access_token):
        assert secret not in text
    assert {(row[3], row[5]) for row in rows} >= {
        ("identity.register", "done"),
        ("identity.open_session", "done"),
        ("identity.open_session", "wrong_credentials"),
        ("identity.refresh_session", "done"),
    }


@pytest.mark.requirement("R24")
async def test_audit_tells_whose_sign_in_it_was(hall: OpenHall, alice: Any) -> None:
    after = (await hall.rows("SELECT max(number) FROM access_audit"))[0][0]
    again = await refresh(hall, (await open_session(hall)).refresh_token)
    with pytest.raises(ProblemError):
        await open_session(hall, password="a wrong password")
    with pytest.raises(ProblemError):
        await refresh(hall, again.refresh_token + "x")
    rows = await hall.rows(
        "SELECT actor, action, path, outcome FROM access_audit WHERE number > $1", after
    )
    where = f"member/{alice.member_id}"
    assert rows == [
        (alice.member_id, "identity.open_session", where, "done"),
        (alice.member_id, "identity.refresh_session", "", "done"),
        ("", "identity.open_session", where, "wrong_credentials"),
        ("", "identity.refresh_session", "", "session_ended"),
    ]


# --- sessions -------------------------------------------------------------------------------------


@pytest.mark.requirement("R4")
async def test_refresh_gives_new_tokens_and_keeps_the_session(hall: OpenHall, alice: Any) -> None:
    hall.clock.advance(240_000)
    again = await refresh(hall, alice.refresh_token)
    assert again.session_id == alice.session_id
    assert again.refresh_token != alice.refresh_token
    assert again.access_token != alice.access_token
    assert again.access_expires_at_ms == hall.clock.now_ms() + 300_000
    assert again.refresh_expires_at_ms == alice.refresh_expires_at_ms + 240_000
    hall.clock.advance(240_000)
    assert await whoami(hall, again.access_token) == "alice"
    assert await whoami(hall, alice.access_token) == "unauthenticated"


@pytest.mark.requirement("R4")
async def test_lost_reply_is_repeated_within_the_grace(hall: OpenHall, alice: Any) -> None:
    again = await refresh(hall, alice.refresh_token)
    hall.clock.advance(REFRESH_GRACE_MS)
    repeated = await refresh(hall, alice.refresh_token)
    assert repeated.refresh_token == again.refresh_token
    assert await whoami(hall, repeated.access_token) == "alice"


@pytest.mark.requirement("R4")
async def test_many_refreshes_at_once_make_one_generation(hall: OpenHall, alice: Any) -> None:
    replies = await asyncio.gather(*(refresh(hall, alice.refresh_token) for _ in range(20)))
    assert len({reply.refresh_token for reply in replies}) == 1
    assert await hall.rows("SELECT generation FROM identity_session") == [(2,)]


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("too_late_ms", [REFRESH_GRACE_MS + 1, 86_400_000])
async def test_reuse_of_a_refresh_token_ends_the_session(
    hall: OpenHall, alice: Any, too_late_ms: int
) -> None:
    hall.clock.advance(1_000)
    newest = await refresh(hall, alice.refresh_token)
    hall.clock.advance(too_late_ms)
    with pytest.raises(ProblemError) as refusal:
        await refresh(hall, alice.refresh_token)
    assert (refusal.value.code, refusal.value.name) == ("unauthenticated", "session_ended")
    assert refusal.value.details == {"remedy": "sign in again"}
    assert await whoami(hall, newest.access_token) == "unauthenticated"
    with pytest.raises(ProblemError, match="session_ended"):
        await refresh(hall, newest.refresh_token)
    ended = [event for event in await hall.events("identity") if "ended" in event.kind]
    assert [event.data["reason"] for event in ended] == ["refresh token reused"]


@pytest.mark.requirement("R5")
async def test_reuse_of_an_older_token_ends_the_session_within_the_grace_too(
    hall: OpenHall, alice: Any
) -> None:
    second = await refresh(hall, alice.refresh_token)
    third = await refresh(hall, second.refresh_token)
    assert await whoami(hall, third.access_token) == "alice"
    with pytest.raises(ProblemError, match="session_ended"):
        await refresh(hall, alice.refresh_token)
    assert await whoami(hall, third.access_token) == "unauthenticated"


@pytest.mark.requirement("R5")
async def test_closed_session_is_refused_at_once_and_others_go_on(
    hall: OpenHall, alice: Any
) -> None:
    other = await open_session(hall)
    closed = await hall.answer("identity.close_session", token=alice.access_token)
    assert closed.problem is None
    assert await whoami(hall, alice.access_token) == "unauthenticated"
    with pytest.raises(ProblemError, match="session_ended"):
        await refresh(hall, alice.refresh_token)
    assert await whoami(hall, other.access_token) == "alice"


@pytest.mark.requirement("R5")
async def test_session_that_is_closed_twice_at_once_ends_once(hall: OpenHall, alice: Any) -> None:
    replies = await asyncio.gather(
        *(hall.answer("identity.close_session", token=alice.access_token) for _ in range(5))
    )
    assert {reply.problem.code if reply.problem else "done" for reply in replies} <= {
        "done",
        "unauthenticated",
    }
    ended = [event for event in await hall.events("identity") if "ended" in event.kind]
    assert [event.data["reason"] for event in ended] == ["closed"]


@pytest.mark.requirement("R2")
async def test_forged_refresh_tokens_are_answered_alike(hall: OpenHall, alice: Any) -> None:
    session, _, mac = alice.refresh_token.split(".")
    foreign = RefreshSeal(bytes(32)).token(alice.session_id, 1)
    forged = [
        "x",
        alice.refresh_token[:-1],
        f"{session}.2.{mac}",
        f"{'0' * 24}.1.{mac}",
        foreign,
        alice.access_token,
    ]
    problems = []
    for token in forged:
        with pytest.raises(ProblemError) as refusal:
            await refresh(hall, token)
        problems.append((refusal.value.code, refusal.value.name, refusal.value.details))
    unauthenticated = ("unauthenticated", "session_ended", {"remedy": "sign in again"})
    assert problems == [unauthenticated] * len(forged)
    assert await whoami(hall, alice.access_token) == "alice", "a forgery ends nobody's session"


@pytest.mark.requirement("R2")
@pytest.mark.requirement("R3")
async def test_token_of_another_issuer_or_audience_is_refused(hall: OpenHall, alice: Any) -> None:
    known = {
        "issuer": "https://hall.test",
        "audience": "https://hall.test",
        "member_id": alice.member_id,
        "session_id": alice.session_id,
        "session_expires_at_ms": hall.clock.now_ms() + 86_400_000,
        "token_id": "0" * 24,
        "now_ms": hall.clock.now_ms(),
    }
    changes: list[dict[str, Any]] = [
        {"issuer": "https://evil.test"},
        {"audience": "https://other.test"},
        {"now_ms": hall.clock.now_ms() - 300_000},
    ]
    for change in changes:
        token, _ = sign_token(hall.hall.keys, **{**known, **change})
        assert await whoami(hall, token) == "unauthenticated", change
    token, _ = sign_token(hall.hall.keys, **known)
    assert await whoami(hall, token) == "alice"


@pytest.mark.requirement("R2")
async def test_access_token_altered_anywhere_is_refused(hall: OpenHall, alice: Any) -> None:
    token = alice.access_token
    for at in range(0, len(token), 7):
        other = "A" if token[at] != "A" else "B"
        assert await whoami(hall, token[:at] + other + token[at + 1 :]) == "unauthenticated"
    for part in (
        token[:-1],
        token + "A",
        token.rpartition(".")[0] + ".",
        "",
        "x",
        alice.session_id,
    ):
        assert await whoami(hall, part) == "unauthenticated"


# --- members --------------------------------------------------------------------------------------


@pytest.mark.requirement("R60")
async def test_member_is_found_by_any_spelling_and_by_id(hall: OpenHall) -> None:
    zoe = await hall.member("Zoë Straße")
    for wanted in ("Zoë Straße", "zoë straße", "ZOE\N{COMBINING DIAERESIS} STRAẞE", zoe.member_id):
        found = await hall.call("identity.find_member", {"member": wanted}, as_=zoe)
        assert found.member_id == zoe.member_id


@pytest.mark.requirement("R60")
@pytest.mark.parametrize("wanted", ["nobody", "0" * 24, "everyone", "a/b", "x" * 100, "A" * 24])
async def test_who_does_not_exist_is_not_found_whatever_was_asked(
    hall: OpenHall, wanted: str
) -> None:
    bob = await hall.member("bob")
    with pytest.raises(ProblemError) as refusal:
        await hall.call("identity.find_member", {"member": wanted}, as_=bob)
    assert (refusal.value.code, refusal.value.name) == ("not_found", "member_not_found")
    assert refusal.value.details["member"] == wanted


@pytest.mark.requirement("R60")
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_member_list_shows_each_once_whatever_the_page(hall: OpenHall, limit: int) -> None:
    boss = await hall.administrator("boss")
    names = [
        "strasse",
        "Straße",
        "straßf",
        "Σίσυφος",
        "σίσυφοτ",
        "İstanbul",
        "istanbul",
        "Zed",
        "a b",
    ]
    await hall.call("identity.add_members", {"names": names}, as_=boss)
    seen: list[str] = []
    after = ""
    for _ in range(20):
        page = await hall.call("identity.list_members", {"after": after, "limit": limit}, as_=boss)
        seen += [member.name for member in page.members]
        if page.next is None:
            break
        after = page.next
    assert sorted(seen) == sorted([*names, "boss"])


@pytest.mark.requirement("R61")
async def test_added_names_are_reported_one_by_one(hall: OpenHall) -> None:
    boss = await hall.administrator("boss")
    await hall.member("bob")
    added = await hall.call(
        "identity.add_members", {"names": ["Ann", "BOB", "every/one", "ANN", "everyone"]}, as_=boss
    )
    names = [member.name if member else None for member in added.members]
    assert names == ["Ann", "bob", None, "Ann", None]
    assert [refusal.number for refusal in added.refused] == [2, 4]
    assert all(refusal.reason and refusal.remedy for refusal in added.refused)


@pytest.mark.requirement("R20")
async def test_members_add_nobody(hall: OpenHall) -> None:
    bob = await hall.member("bob")
    with pytest.raises(ProblemError) as refusal:
        await hall.call("identity.add_members", {"names": ["ann"]}, as_=bob)
    assert refusal.value.code == "permission_denied"
    assert refusal.value.details["permission"] == "members:add"


@pytest.mark.requirement("R60")
async def test_names_are_told_for_ids_that_exist(hall: OpenHall) -> None:
    bob = await hall.member("bob")
    request = {"member_ids": [bob.member_id, "0" * 24, "'; DROP TABLE", bob.member_id]}
    told = await hall.call("identity.name_members", request, as_=bob)
    assert told.names == {bob.member_id: "bob"}


@pytest.mark.requirement("R20")
@pytest.mark.parametrize(
    "action", ["get_self", "close_session", "list_members", "find_member", "add_members"]
)
async def test_without_a_token_nothing_is_told(hall: OpenHall, action: str) -> None:
    requests: dict[str, dict[str, Any]] = {
        "find_member": {"member": "x"},
        "add_members": {"names": ["x"]},
    }
    with pytest.raises(ProblemError) as refusal:
        await hall.call(f"identity.{action}", requests.get(action))
    assert refusal.value.code == "unauthenticated"
