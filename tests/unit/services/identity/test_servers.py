"""Resource servers that prove themselves by a key: let in, followed, and shut out at once."""

import asyncio
import json
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moothall.action.assertion import ASSERTION_SECONDS
from moothall.action.connections import CloseReason
from moothall.action.token import LIFE_SECONDS, SKEW_SECONDS
from moothall.core.units import DAY_MS, HOUR_MS, SECOND_MS
from moothall.testing import OpenHall, ProblemError, Visitor, open_test_hall
from moothall.testing.hall import ISSUER
from tests.unit.services.identity.server_calls import (
    BOARDS,
    KEY,
    OTHER,
    SHOP,
    as_visitor,
    assertion,
    follow,
    is_refused,
    open_session,
    shown,
)


def forge(
    hall: OpenHall,
    changed: dict[str, Any] | str | None = None,
    header: dict[str, Any] | str | None = None,
    key: Ed25519PrivateKey = KEY,
) -> str:
    """Sign with the server's own key what it would never sign; a text stands as it is."""
    now = hall.clock.now_ms() // 1_000
    head: dict[str, Any] = {"alg": "EdDSA", "typ": "client-authentication+jwt"}
    claims: dict[str, Any] = {
        "iss": BOARDS,
        "sub": BOARDS,
        "aud": ISSUER,
        "iat": now,
        "exp": now + ASSERTION_SECONDS,
        "jti": "forged",
    }
    texts = [
        part if isinstance(part, str) else json.dumps({**plain, **(part or {})})
        for part, plain in ((header, head), (changed, claims))
    ]
    signed = ".".join(encode(text.encode()) for text in texts)
    return f"{signed}.{encode(key.sign(signed.encode()))}"


def encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


async def refusal(hall: OpenHall, text: str) -> tuple[str, str, str]:
    """Return all that is told of a refused assertion."""
    answer = await hall.answer("identity.open_server_session", {"assertion": text})
    assert answer.problem is not None, text
    problem = answer.problem
    return problem.code, problem.name, str(problem.details)


@pytest.fixture
async def server(hall: OpenHall, boss: Visitor) -> Visitor:
    """A server that is registered, and in."""
    request = {"audience": BOARDS, "server_key": shown(KEY)}
    await hall.call("identity.add_audience", request, as_=boss)
    return as_visitor(await open_session(hall, assertion(hall, 0)))


# --- being let in ------------------------------------------------------------------------------


@pytest.mark.requirement("R3", "R5")
async def test_a_registered_server_is_let_in_for_five_minutes(
    hall: OpenHall, boss: Visitor
) -> None:
    request = {"audience": BOARDS, "summary": "Boards", "server_key": shown(KEY)}
    added = await hall.call("identity.add_audience", request, as_=boss)
    assert added.server_id
    assert added.server_key == shown(KEY)
    listed = await hall.call("identity.list_audiences", as_=boss)
    assert listed.audiences == [added]
    opened = await open_session(hall, assertion(hall))
    assert opened.server_id == added.server_id
    assert opened.access_expires_at_ms == hall.clock.now_ms() + LIFE_SECONDS * SECOND_MS
    visitor = as_visitor(opened)
    names = await hall.call("identity.name_members", {"member_ids": [boss.member_id]}, as_=visitor)
    assert names.names == {boss.member_id: "boss"}
    hall.clock.advance(LIFE_SECONDS * SECOND_MS)
    late = await hall.answer("identity.list_members", token=opened.access_token)
    assert late.problem is not None
    assert late.problem.code == "unauthenticated"


@pytest.mark.requirement("R24")
async def test_the_trail_says_which_server_came(hall: OpenHall, server: Visitor) -> None:
    await refusal(hall, assertion(hall, 0))
    rows = await hall.rows(
        "SELECT actor, outcome FROM access_audit WHERE action = 'identity.open_server_session'"
        " ORDER BY number"
    )
    assert [tuple(row) for row in rows] == [(server.member_id, "done"), ("", "server_refused")]


async def test_a_server_without_a_key_is_registered_as_before(
    hall: OpenHall, boss: Visitor
) -> None:
    added = await hall.call("identity.add_audience", {"audience": BOARDS}, as_=boss)
    assert (added.server_id, added.server_key) == ("", "")
    assert (await refusal(hall, assertion(hall)))[0] == "unauthenticated"
    request = {"audience": BOARDS, "server_key": shown(KEY)}
    changed = await hall.call("identity.set_server_key", request, as_=boss)
    assert (await open_session(hall, assertion(hall))).server_id == changed.server_id
    assert (await hall.call("identity.list_audiences", as_=boss)).audiences == [changed]


@pytest.mark.parametrize("text", [
    "ed25519:", "ed25519:AAAA", "ed25519:" + "A" * 42, "ed25519:" + "A" * 44,
    "ed25519:" + "A" * 42 + "B", "ed25519:" + "A" * 120,
    shown(KEY).removeprefix("ed25519:"), shown(KEY) + "=", shown(KEY).upper(), shown(KEY) + "\n",
    "ed25519: " + shown(KEY)[8:], "rsa:" + shown(KEY)[8:], "",
])  # fmt: skip
async def test_only_a_whole_key_is_registered(hall: OpenHall, boss: Visitor, text: str) -> None:
    await hall.call("identity.add_audience", {"audience": SHOP}, as_=boss)
    for action, audience in (("add_audience", BOARDS), ("set_server_key", SHOP)):
        request = {"audience": audience, "server_key": text}
        with pytest.raises(ProblemError) as caught:
            await hall.call(f"identity.{action}", request, as_=boss)
        assert (caught.value.code, caught.value.details["field"]) == (
            "invalid_argument",
            "server_key",
        )
    assert [row[0] for row in await hall.rows("SELECT audience FROM identity_audience")] == [SHOP]
    assert await hall.rows("SELECT * FROM identity_server") == []


async def test_each_server_has_a_key_of_its_own(
    hall: OpenHall, boss: Visitor, server: Visitor
) -> None:
    request = {"audience": SHOP, "server_key": shown(KEY)}
    with pytest.raises(ProblemError) as added:
        await hall.call("identity.add_audience", request, as_=boss)
    assert (added.value.code, added.value.name) == ("already_exists", "server_key_taken")
    second = await hall.call(
        "identity.add_audience", {"audience": SHOP, "server_key": shown(OTHER)}, as_=boss
    )
    with pytest.raises(ProblemError) as changed:
        await hall.call("identity.set_server_key", request, as_=boss)
    assert changed.value.name == "server_key_taken"
    # What was refused has ended nothing.
    opened = await open_session(hall, assertion(hall, key=OTHER, server=SHOP))
    assert opened.server_id == second.server_id
    await hall.call("identity.list_members", as_=as_visitor(opened))
    await hall.call("identity.list_members", as_=server)


async def test_keys_are_for_who_manages_audiences(hall: OpenHall, server: Visitor) -> None:
    ada = await hall.member("ada")
    request = {"audience": BOARDS, "server_key": shown(OTHER)}
    for who in (ada, server):
        with pytest.raises(ProblemError) as caught:
            await hall.call("identity.set_server_key", request, as_=who)
        assert caught.value.details["permission"] == "audiences:manage"


# --- what is no proof --------------------------------------------------------------------------


@pytest.mark.requirement("R2", "R3")
async def test_all_wrong_assertions_are_refused_alike(hall: OpenHall, server: Visitor) -> None:
    good = assertion(hall, 2)
    now = hall.clock.now_ms() // 1_000
    head, claims, signature = good.split(".")
    bad = [
        assertion(hall, 0),  # used
        assertion(hall, server=SHOP),
        assertion(hall, key=OTHER),
        assertion(hall, server=SHOP, key=OTHER),
        assertion(hall, issuer="https://other.example"),
        assertion(hall, issuer=BOARDS),
        *(
            server.token,
            "x",
            "..",
            "é",
            f"{head}.{claims}.",
            f"{head}.{claims}",
            good + "=",
        ),
        *(f"{claims}.{head}.{signature}", good + "\n", " " + good, good[:-1], good + "A"),
        *(
            forge(hall, header={"alg": alg})
            for alg in ("none", "HS256", "RS256", "ES256", "", None)
        ),
        *(forge(hall, header={"typ": typ}) for typ in ("at+jwt", "JWT", "", None)),
        *(forge(hall, header={name: "x"}) for name in ("kid", "jku", "jwk", "crit", "x5u", "cty")),
        *(forge(hall, {"sub": who}) for who in (SHOP, "", None, 7, [BOARDS])),
        *(forge(hall, {"iss": who}) for who in (SHOP, "", None, 7)),
        *(forge(hall, {"aud": aud}) for aud in (BOARDS, ISSUER + "/", [ISSUER], None, "")),
        *(forge(hall, {"jti": jti}) for jti in ("", None, 7, "j" * 129)),
        *(forge(hall, {"exp": exp}) for exp in (0, now, now + 61, 10**12, 10**400, None, "1", 1.5)),
        *(forge(hall, {"iat": iat}) for iat in (0, now - 1, now + 61, None, "1", True)),
        forge(hall, {"iat": now + 61, "exp": now + 100}),
        forge(hall, {"iat": now - 1_000, "exp": now - SKEW_SECONDS}),
        forge(hall, {"nbf": now + 61}),
        forge(hall, "[]"),
        forge(hall, "{}"),
        forge(hall, json.dumps({"iss": BOARDS})[:-1] + ', "iss": "x"}'),
        forge(hall, header='{"alg":"EdDSA","alg":"EdDSA","typ":"client-authentication+jwt"}'),
    ]
    told = {text: await refusal(hall, text) for text in bad}
    assert {each[:2] for each in told.values()} == {("unauthenticated", "server_refused")}
    assert len(set(told.values())) == 1
    assert len(await hall.rows("SELECT * FROM identity_assertion")) == 1
    for text in (good, forge(hall), forge(hall, {"jti": "f2"}, {"alg": "Ed25519"})):
        await open_session(hall, text)  # so the forger above forges well


@pytest.mark.requirement("R2", "R3")
async def test_no_bit_of_an_assertion_can_be_changed(hall: OpenHall, server: Visitor) -> None:
    text = assertion(hall)

    @settings(
        max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
    )
    @given(st.integers(0, len(text) - 1), st.integers(0, 6))
    def search(place: int, bit: int) -> None:
        altered.add(text[:place] + chr(ord(text[place]) ^ (1 << bit)) + text[place + 1 :])

    altered: set[str] = set()
    search()
    assert len(altered) >= 100
    for each in altered:
        assert (await refusal(hall, each))[1] == "server_refused", each
    await open_session(hall, text)
    assert server.member_id


@pytest.mark.requirement("R3")
async def test_an_assertion_is_taken_once_also_after_a_restart(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        clock, boss = hall.clock, await hall.administrator("boss")
        request = {"audience": BOARDS, "server_key": shown(KEY)}
        await hall.call("identity.add_audience", request, as_=boss)
        text = assertion(hall)
        answers = await asyncio.gather(
            *(hall.answer("identity.open_server_session", {"assertion": text}) for _ in range(10))
        )
        assert sum(answer.problem is None for answer in answers) == 1
    async with open_test_hall(tmp_path, clock=clock) as hall:
        assert (await refusal(hall, text))[1] == "server_refused"
        await open_session(hall, assertion(hall, 2))


@pytest.mark.requirement("R3")
async def test_an_assertion_is_good_for_a_minute_give_or_take_the_clocks(
    hall: OpenHall, server: Visitor
) -> None:
    old, older = assertion(hall, 1), assertion(hall, 2)
    hall.clock.advance((ASSERTION_SECONDS + SKEW_SECONDS) * SECOND_MS - 1)
    await open_session(hall, old)
    hall.clock.advance(1)
    assert (await refusal(hall, older))[1] == "server_refused"
    now = hall.clock.now_ms() // 1_000
    await open_session(hall, forge(hall, {"iat": now + SKEW_SECONDS, "exp": now + 100}))
    assert server.member_id


@pytest.mark.requirement("R3")
async def test_used_assertions_are_forgotten_when_none_could_be_used_again(
    hall: OpenHall, server: Visitor
) -> None:
    text = assertion(hall)
    await open_session(hall, text)
    hall.clock.advance((ASSERTION_SECONDS + SKEW_SECONDS) * SECOND_MS + HOUR_MS)
    await hall.run_job("identity.sweep_servers")
    assert len(await hall.rows("SELECT * FROM identity_assertion")) == 2
    hall.clock.set_wall(hall.clock.now_ms() - HOUR_MS - 2 * SECOND_MS)
    assert (await refusal(hall, text))[1] == "server_refused"  # an hour's mistake is survived
    hall.clock.advance(HOUR_MS + 4 * SECOND_MS)
    await hall.run_job("identity.sweep_servers")
    assert await hall.rows("SELECT * FROM identity_assertion") == []
    assert (await refusal(hall, text))[1] == "server_refused"
    assert server.member_id


async def test_servers_that_knock_without_end_are_slowed(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path, limits_scale=1.0) as hall:
        names = [(await refusal(hall, "x"))[1] for _ in range(200)]
    assert names.count("server_refused") == 120
    assert names[-1] == "rate_limited"


# --- being shut out ----------------------------------------------------------------------------


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("way", ["remove_audience", "set_server_key"])
async def test_whoever_loses_the_key_is_out_at_once_also_after_a_restart(
    tmp_path: Path, way: str
) -> None:
    async with open_test_hall(tmp_path) as hall:
        clock, boss = hall.clock, await hall.administrator("boss")
        request = {"audience": BOARDS, "server_key": shown(KEY)}
        await hall.call("identity.add_audience", request, as_=boss)
        server = as_visitor(await open_session(hall, assertion(hall)))
        reader = await follow(hall, server)
        more = {"server_key": shown(OTHER)} if way == "set_server_key" else {}
        await hall.call(f"identity.{way}", {"audience": BOARDS, **more}, as_=boss)
        assert reader.reason is CloseReason.SESSION_ENDED
        assert await is_refused(hall, server)
        assert (await refusal(hall, assertion(hall, 2)))[1] == "server_refused"
    async with open_test_hall(tmp_path, clock=clock) as hall:
        assert await is_refused(hall, server)
        boss = await hall.sign_in("boss")
        if way == "remove_audience":
            await hall.call("identity.add_audience", request, as_=boss)
        else:
            await hall.call("identity.set_server_key", request, as_=boss)
        assert await is_refused(hall, server)  # the same key again is another server
        opened = await open_session(hall, assertion(hall, 3))
        assert opened.server_id != server.session_id
        await hall.call("identity.list_members", as_=as_visitor(opened))
        kinds = [one.kind.partition(".")[2] for one in await hall.events("identity")]
        ended = 1 if way == "remove_audience" else 2
        assert kinds.count("server_ended") == ended
        assert kinds.count("server_registered") == ended + 1


async def test_the_key_it_has_already_changes_nothing(
    hall: OpenHall, boss: Visitor, server: Visitor
) -> None:
    request = {"audience": BOARDS, "server_key": shown(KEY)}
    same = await hall.call("identity.set_server_key", request, as_=boss)
    assert same.server_id == server.session_id
    await hall.call("identity.list_members", as_=server)
    with pytest.raises(ProblemError) as caught:
        await hall.call("identity.set_server_key", {**request, "audience": SHOP}, as_=boss)
    assert caught.value.name == "audience_not_found"


@pytest.mark.requirement("R5")
async def test_a_removal_that_races_a_session_leaves_no_token(
    hall: OpenHall, boss: Visitor, server: Visitor
) -> None:
    answers = await asyncio.gather(
        *(
            hall.answer("identity.open_server_session", {"assertion": assertion(hall, number)})
            for number in range(1, 6)
        ),
        hall.answer("identity.remove_audience", {"audience": BOARDS}, token=boss.token),
        *(
            hall.answer("identity.open_server_session", {"assertion": assertion(hall, number)})
            for number in range(6, 11)
        ),
    )
    for answer in answers:
        if answer.body is not None and (found := json.loads(answer.body)).get("access_token"):
            assert await is_refused(
                hall, Visitor("", "", found["server_id"], found["access_token"])
            )
    assert await is_refused(hall, server)


async def test_servers_that_ended_are_swept_when_no_token_of_theirs_lives(
    hall: OpenHall, boss: Visitor, server: Visitor
) -> None:
    await hall.call("identity.remove_audience", {"audience": BOARDS}, as_=boss)
    await hall.run_job("identity.sweep_servers")
    assert len(await hall.rows("SELECT * FROM identity_server")) == 1
    hall.clock.advance(DAY_MS + 1)
    await hall.run_job("identity.sweep_servers")
    assert await hall.rows("SELECT * FROM identity_server") == []
    assert await is_refused(hall, server)
