"""What a resource server may, and what it learns."""

import json
import re
from base64 import urlsafe_b64decode
from typing import Any

import pytest
from msgspec import inspect

from moothall.action.access import Signed
from moothall.action.feed import FeedIndex
from moothall.testing import OpenHall, ProblemError, Visitor
from moothall.testing.hall import PASSWORD
from tests.unit.services.access.calls import rights_of
from tests.unit.services.identity.server_calls import (
    BOARDS,
    FEED,
    KEY,
    as_visitor,
    assertion,
    follow,
    open_session,
    rotate_now,
    shown,
)


@pytest.fixture
async def server(hall: OpenHall, boss: Visitor) -> Visitor:
    """A server that is registered, and in."""
    request = {"audience": BOARDS, "server_key": shown(KEY)}
    await hall.call("identity.add_audience", request, as_=boss)
    return as_visitor(await open_session(hall, assertion(hall, 0)))


TEXTS = ("boss", "members:read", BOARDS, shown(KEY), "0" * 64, "x" * 128)
"""Values for fields that are texts; the first one that fits the pattern is taken."""

HELD = {"feeds:own", "members:read", "revocations:read"}
OPEN_TO_SERVERS = {
    "identity.name_members", "identity.find_member", "identity.list_members",
    "feeds.subscribe", "feeds.unsubscribe", "feeds.acknowledge",
}  # fmt: skip


@pytest.mark.requirement("R3", "R20")
async def test_a_server_may_read_members_and_follow_and_nothing_else(
    hall: OpenHall, boss: Visitor, server: Visitor
) -> None:
    actions = hall.hall.catalog.actions
    demanded = {
        name: one.access.permission
        for name, one in actions.items()
        if isinstance(one.access, Signed)
    }
    assert {name for name, permission in demanded.items() if permission in HELD} == OPEN_TO_SERVERS
    for name in demanded:
        request = sample(inspect.type_info(actions[name].request_type))
        answer = await hall.answer(name, request, token=server.token)
        if name in OPEN_TO_SERVERS:
            assert answer.problem is None or answer.problem.code != "permission_denied", name
        else:
            assert answer.problem is not None, name
            assert answer.problem.code == "permission_denied", (name, answer.problem)
    feeds = hall.hall.house.use(FeedIndex).feeds
    assert [one.template for one in feeds if one.access.permission in HELD] == [FEED]
    for who in (boss.member_id, "boss"):
        found = await hall.call("identity.find_member", {"member": who}, as_=server)
        assert found.name == "boss"
    page = await hall.call("identity.list_members", as_=server)
    assert [one.name for one in page.members] == ["boss"]


def sample(kind: inspect.Type) -> Any:  # noqa: C901 - one case for each kind of type
    """Return a value that a field of this type takes, whatever it means."""
    match kind:
        case inspect.StructType():
            return {one.name: sample(one.type) for one in kind.fields if one.required}
        case inspect.Metadata():
            return sample(kind.type)
        case inspect.UnionType():
            return sample(kind.types[0])
        case inspect.ListType() | inspect.VarTupleType():
            return [sample(kind.item_type)] * (kind.min_length or 0)
        case inspect.TupleType():
            return [sample(one) for one in kind.item_types]
        case inspect.EnumType():
            return next(iter(kind.cls)).value
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.StrType():
            fits = (one for one in TEXTS if re.search(kind.pattern or "", one))
            return next(one for one in fits if len(one) >= (kind.min_length or 0))
        case inspect.IntType() | inspect.FloatType():
            return kind.ge or kind.le or 1
        case inspect.DictType():
            return {}
        case inspect.BytesType():
            return ""
        case _:
            return True


@pytest.mark.requirement("R5", "R16")
async def test_the_feed_tells_who_went_and_what_changed_and_nothing_else(
    hall: OpenHall, boss: Visitor, server: Visitor
) -> None:
    ada, ben = await hall.member("ada"), await hall.member("ben")
    reader = await follow(hall, server)
    await hall.call("identity.rename_self", {"name": "Ada L"}, as_=ada)
    await hall.call("identity.close_session", as_=ada)
    await hall.call("identity.remove_member", {"member": "ben"}, as_=boss)
    key = await rotate_now(hall, boss)
    await hall.call("identity.retire_key", {"kid": key.kid}, as_=boss)
    told = [await reader.next_event() for _ in range(7)]
    assert {(one.feed, one.stream) for one in told} == {(FEED, FEED)}
    assert [one.seq for one in told] == list(range(told[0].seq, told[0].seq + 7))
    new_kid = told[-1].data["kid"] if told[-1].kind.endswith("made") else told[-2].data["kid"]
    assert [(one.kind, one.data) for one in told[:5]] == [
        ("identity.member_renamed", {"member_id": ada.member_id}),
        (
            "identity.session_ended",
            {"member_id": ada.member_id, "session_id": ada.session_id, "reason": "closed"},
        ),
        (
            "identity.session_ended",
            {"member_id": ben.member_id, "session_id": ben.session_id, "reason": "member removed"},
        ),
        ("identity.member_removed", {"member_id": ben.member_id}),
        ("identity.key_made", {"kid": key.kid, "begins_at_ms": key.begins_at_ms}),
    ]
    assert [(one.kind, one.data["kid"]) for one in told[5:]] == [
        ("identity.key_retired", key.kid),
        ("identity.key_made", new_kid),
    ]
    # The same facts stand where session managers read them.
    kinds = [one.kind for one in await hall.events("identity")]
    for kind in {one.kind for one in told}:
        assert kind in kinds
    request = {"member_ids": [ada.member_id, ben.member_id]}
    names = await hall.call("identity.name_members", request, as_=server)
    assert (names.names, names.removed) == ({ada.member_id: "Ada L"}, [ben.member_id])


@pytest.mark.requirement("R5", "R33")
async def test_a_server_that_was_away_learns_all_it_missed(
    hall: OpenHall, boss: Visitor, server: Visitor
) -> None:
    first = await follow(hall, server)
    ada = await hall.member("ada")
    await hall.call("identity.revoke_sessions_of", {"member": "ada"}, as_=boss)
    known = await first.next_event()
    assert known.data["session_id"] == ada.session_id
    first.leave()
    missed = []
    for _ in range(3):
        missed.append((await hall.sign_in("ada")).session_id)
        await hall.call("identity.revoke_sessions_of", {"member": "ada"}, as_=boss)
    again = await follow(hall, as_visitor(await open_session(hall, assertion(hall))), known.cursor)
    assert [(await again.next_event()).data["session_id"] for _ in missed] == missed


@pytest.mark.requirement("R16")
async def test_no_event_holds_a_name(hall: OpenHall, boss: Visitor) -> None:
    """A removal would leave it there."""
    zoe = await hall.member("Zoeanne")
    await hall.call("identity.rename_self", {"name": "Zoebeth"}, as_=zoe)
    await hall.call("identity.remove_account", {"password": PASSWORD}, as_=zoe)
    rows = await hall.rows("SELECT data FROM action_event")
    assert zoe.member_id in str(rows)
    assert "Zoe" not in str(rows)
    assert boss.member_id


@pytest.mark.requirement("R20")
async def test_the_feed_is_for_servers_and_who_was_given_their_role(
    hall: OpenHall, boss: Visitor
) -> None:
    """The role does a person no good but this: it is harmless where it is given by mistake."""
    ada = await hall.member("ada")
    reader = await hall.connect(ada)
    before = await list_permissions(hall, ada)
    with pytest.raises(ProblemError) as caught:
        await reader.call("feeds.subscribe", feed=FEED)
    assert caught.value.details["permission"] == "revocations:read"
    role = {"member": "ada", "role": "resource_server"}
    await hall.call("access.grant_role", role, as_=boss)
    assert await list_permissions(hall, ada) == {
        *before,
        "revocations:read",
    }
    await reader.call("feeds.subscribe", feed=FEED)
    await hall.call("access.revoke_role", role, as_=boss)
    assert "revocations:read" not in await list_permissions(hall, ada)


async def list_permissions(hall: OpenHall, who: Visitor) -> set[str]:
    rights = await rights_of(hall, who.member_id)
    return {name for name in hall.hall.catalog.permissions if rights.allows(name, "")}


@pytest.mark.requirement("R20", "R22")
async def test_nothing_reaches_servers_but_their_role(
    hall: OpenHall, boss: Visitor, server: Visitor
) -> None:
    """Not what everyone is given, at no place, and nobody can be asked about one."""
    authority = hall.hall.house.authority
    await hall.call("access.grant_role", {"member": "everyone", "role": "auditor"}, as_=boss)
    for permission in hall.hall.catalog.permissions:
        for path in ("", "board/kart", "member/x"):
            assert authority.allows(server.member_id, permission, path) == (permission in HELD)
    held = (await rights_of(hall, server.member_id)).list_held("")
    assert {permission for permission, _ in held} == HELD
    for subject in (server.member_id, "server:*", "server:"):
        for action, request in (
            ("access.explain", {"permission": "members:read"}),
            ("access.check", {"permission": "members:read"}),
            ("access.grant_role", {"role": "administrator"}),
            ("access.ban", {"at": "board/kart"}),
        ):
            with pytest.raises(ProblemError) as caught:
                await hall.call(action, {"member": subject, **request}, as_=boss)
            assert caught.value.name == "member_not_found", (subject, action)


@pytest.mark.requirement("R3")
async def test_a_token_for_a_server_carries_the_name_and_one_for_the_hall_does_not(
    hall: OpenHall, boss: Visitor, server: Visitor
) -> None:
    ada = await hall.member("Ada L")
    issued = await hall.call("identity.issue_token", {"audience": BOARDS}, as_=ada)
    claims = [
        json.loads(urlsafe_b64decode(token.split(".")[1] + "=="))
        for token in (issued.access_token, ada.token, server.token)
    ]
    assert [one.get("name") for one in claims] == ["Ada L", None, None]
    assert claims[0]["aud"] == BOARDS
    assert claims[2]["sub"] == server.member_id
    assert boss.member_id
