"""Accounts, sessions and keys at several nodes of one hall: what one did holds at the others.

Where calls meet, they are made in the order of a seed, or behind a lock that the test holds.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from moothall.action.connections import CloseReason
from moothall.core.units import MINUTE_MS
from moothall.ports.hasher import PasswordHasher
from moothall.services.identity.adapters.activity import HEARD_WITHIN_MS, TOLD_EVERY_MS_MAX
from moothall.services.identity.adapters.guesses import GuessesUnderWay
from moothall.services.identity.adapters.keys import KNOWN_AFTER_MS
from moothall.services.identity.adapters.senders import Senders
from moothall.storage.postgres.transaction import PostgresTransaction
from moothall.testing import OpenHall, Visitor
from moothall.testing.hall import PASSWORD, CheapHasher
from tests.nodes.boards import run_behind, run_job_anyway
from tests.servers.nodes import Nodes, open_nodes
from tests.unit.services.identity.server_calls import BOARDS, KEY, assertion, rotate_now, shown
from tests.unit.services.identity.test_guesses import try_all, try_one, watch

WITHIN_SECONDS = 1.0
IDLE_MS = 10 * MINUTE_MS
SEEDS = (1, 2, 3)


@asynccontextmanager
async def open_two(folder: Path, **tables: dict[str, Any]) -> AsyncIterator[Nodes]:
    async with open_nodes(folder, 2, tables=tables) as nodes:
        yield nodes


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    async with open_two(tmp_path) as opened:
        yield opened


async def outcome(hall: OpenHall, action: str, who: Visitor | None = None, **fields: Any) -> str:
    """Return the name of the problem, or ``done``."""
    token = None if who is None else who.token
    source = fields.pop("source", "192.0.2.1")
    reply = await hall.answer(f"identity.{action}", fields, token=token, source=source)
    return reply.problem.name if reply.problem else "done"


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what a node is to learn; its tail tells nobody when it has."""
    async with asyncio.timeout(WITHIN_SECONDS):
        while not is_so():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.005)


async def until_refused(hall: OpenHall, who: Visitor) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        while await outcome(hall, "get_self", who) != "unauthenticated":  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)


async def meet(seed: int, works: Iterable[Awaitable[Any]]) -> list[Any]:
    """Run calls at once, in the order of a seed; return what came of each, in their own order."""
    listed = list(works)
    order = list(range(len(listed)))
    random.Random(seed).shuffle(order)
    tasks: dict[int, asyncio.Future[Any]] = {}
    for at in order:
        tasks[at] = asyncio.ensure_future(listed[at])
    return [await tasks[at] for at in range(len(listed))]


# --- what is remembered ---------------------------------------------------------------------------


@pytest.mark.requirement("R5")
async def test_who_signs_out_at_one_node_is_out_at_the_other(nodes: Nodes) -> None:
    first, second = nodes.halls
    ann = await first.member("ann")
    connection = await second.connect(ann)
    assert await outcome(second, "get_self", ann) == "done"
    await first.call("identity.close_session", as_=ann)
    await until(lambda: connection.reason is CloseReason.SESSION_ENDED)
    assert await outcome(second, "get_self", ann) == "unauthenticated"


@pytest.mark.requirement("R5")
@pytest.mark.requirement("R16")
async def test_who_is_removed_at_one_node_is_gone_at_the_other(nodes: Nodes) -> None:
    first, second = nodes.halls
    boss, ann = await first.administrator("boss"), await second.member("ann")
    connection = await second.connect(ann)
    await first.call("identity.remove_member", {"member": "ann"}, as_=boss)
    await until(lambda: connection.reason is CloseReason.SESSION_ENDED)
    assert await outcome(second, "get_self", ann) == "unauthenticated"


@pytest.mark.requirement("R5")
async def test_a_node_that_starts_later_knows_who_signed_out(tmp_path: Path) -> None:
    async with open_two(tmp_path) as nodes:
        first = nodes.halls[0]
        ann = await first.member("ann")
        await first.call("identity.close_session", as_=ann)
        second = nodes.halls[1]
        await until_refused(second, ann)


@pytest.mark.requirement("R11")
@pytest.mark.parametrize("now", [False, True])
async def test_a_key_is_known_at_every_node_before_it_signs(nodes: Nodes, *, now: bool) -> None:
    first, second = nodes.halls
    boss = await first.administrator("boss")
    made = await first.call("identity.rotate_keys", {"now": now}, as_=boss)
    assert made.begins_at_ms >= first.clock.now_ms() + KNOWN_AFTER_MS
    await until(lambda: second.hall.keys.verifying_key(made.kid) is not None)
    first.clock.advance(made.begins_at_ms - first.clock.now_ms())
    assert first.hall.keys.signing_key().kid == second.hall.keys.signing_key().kid == made.kid
    assert await outcome(second, "get_self", await first.sign_in("boss")) == "done"


@pytest.mark.requirement("R11")
async def test_a_key_that_is_retired_at_one_node_verifies_nothing_at_the_other(
    nodes: Nodes,
) -> None:
    first, second = nodes.halls
    boss = await first.administrator("boss")
    old = first.hall.keys.signing_key().kid
    assert old is not None
    await rotate_now(first, boss)  # or retiring it would make one, and so tell of all of them
    await until(lambda: second.hall.keys.signing_key().kid != old)
    assert await outcome(second, "get_self", boss) == "done"
    await first.call("identity.retire_key", {"kid": old}, as_=boss)
    await until_refused(second, boss)
    assert second.hall.keys.verifying_key(old) is None
    assert await outcome(second, "get_self", await first.sign_in("boss")) == "done"


@pytest.mark.requirement("R13")
async def test_who_is_active_at_one_node_only_is_not_signed_out_by_the_other(
    tmp_path: Path,
) -> None:
    async with open_two(tmp_path, sessions={"idle_timeout_ms": IDLE_MS}) as nodes:
        first, second = nodes.halls
        busy, idle = await first.member("busy"), await first.member("idle")
        for _ in range(2 * IDLE_MS // MINUTE_MS):
            busy = first.renew(busy)
            await first.call("identity.get_self", as_=busy)
            first.clock.advance(MINUTE_MS)
            await first.run_job("identity.tell_activity")
            await second.hall.foundation.tail.look()  # type: ignore[union-attr] # it has one
            for hall in nodes.halls:
                await run_job_anyway(hall, "identity.end_idle_sessions")
        ended = await first.rows(
            "SELECT member_id FROM identity_session WHERE ended_at_ms IS NOT NULL"
        )
        assert ended == [(idle.member_id,)]
        first.clock.advance(IDLE_MS + TOLD_EVERY_MS_MAX + HEARD_WITHIN_MS)
        await run_job_anyway(second, "identity.end_idle_sessions")
        await until_refused(first, first.renew(busy))


# --- counted exactly ------------------------------------------------------------------------------


@pytest.mark.requirement("R12")
@pytest.mark.parametrize("seed", SEEDS)
async def test_both_nodes_make_no_more_accounts_than_the_budget_allows(
    tmp_path: Path, seed: int
) -> None:
    async with open_two(tmp_path, registration={"accounts_per_source_hour_max": 7}) as nodes:
        told = await meet(
            seed,
            (
                outcome(nodes.halls[at % 2], "register", name=f"player {at}", password=PASSWORD)
                for at in range(60)
            ),
        )
        assert Counter(told) == {"done": 7, "rate_limited": 53}, seed
        used = await nodes.halls[0].rows("SELECT used FROM identity_budget WHERE source <> ''")
        assert used == [(7,)]


class CountingHasher(CheapHasher):
    """Counts the passwords that are looked at, and lets others run meanwhile."""

    def __init__(self) -> None:
        self.looked_at = 0

    async def verify(self, known: str | None, password: str) -> bool:
        self.looked_at += 1
        await asyncio.sleep(0)
        return await super().verify(known, password)


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("name", ["alice", "nobody"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_of_many_guesses_at_two_nodes_three_are_looked_at(
    nodes: Nodes, seed: int, name: str
) -> None:
    first, second = nodes.halls
    await first.member("alice")
    hasher = CountingHasher()
    for hall in nodes.halls:
        hall.hall.house.ports[PasswordHasher] = hasher  # type: ignore[index] # it is a dict
    fields: dict[str, Any] = {"name": name, "password": "a wrong one"}
    told = await meet(
        seed,
        (
            outcome(nodes.halls[at % 2], "open_session", **fields, source=f"198.51.100.{at}")
            for at in range(200)
        ),
    )
    assert hasher.looked_at == 3, seed
    assert Counter(told) == {"wrong_credentials": 3, "account_locked": 197}, seed
    for hall in (first, second):
        assert await outcome(hall, "open_session", name=name, password=PASSWORD) == "account_locked"
    first.clock.advance(MINUTE_MS)
    done = "done" if name == "alice" else "wrong_credentials"
    assert await outcome(second, "open_session", name=name, password=PASSWORD) == done


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_guess_beside_a_right_sign_in_is_counted(nodes: Nodes, seed: int) -> None:
    """The right one deletes the row of guesses while wrong ones at the other node count in it."""
    await nodes.halls[0].member("alice")
    hasher = CountingHasher()
    for hall in nodes.halls:
        hall.hall.house.ports[PasswordHasher] = hasher  # type: ignore[index] # it is a dict
    passwords = [PASSWORD if at % 3 == 0 else "a wrong one" for at in range(60)]
    await meet(
        seed,
        (
            outcome(
                nodes.halls[at % 2],
                "open_session",
                name="alice",
                password=password,
                source=f"198.51.100.{at}",
            )
            for at, password in enumerate(passwords)
        ),
    )
    rows = await nodes.halls[0].rows("SELECT series, guesses FROM identity_lockout")
    assert all(series and 0 <= guesses <= 3 for series, guesses in rows), (seed, rows)


@pytest.mark.requirement("R7")
async def test_right_sign_ins_of_one_account_at_two_nodes_all_succeed(nodes: Nodes) -> None:
    """Whoever finds a lock that the other node has just set waits for what comes of it."""
    first, second = nodes.halls
    await first.member("alice")
    hasher = watch(first, wanted=3)
    under_way = asyncio.create_task(try_all(first, [PASSWORD] * 3))
    await hasher.all_there.wait()
    there = second.hall.house.use(GuessesUnderWay)
    late = asyncio.create_task(try_one(second, PASSWORD))
    await until(lambda: there.waiting > 0)
    hasher.gate.set()
    assert await under_way == ["done"] * 3
    assert await late == "done"


@pytest.mark.requirement("R7")
async def test_who_is_cut_off_while_a_guess_becomes_durable_spends_none(nodes: Nodes) -> None:
    first = nodes.halls[0]
    ann = await first.member("ann")
    assert await outcome(first, "open_session", name="ann", password="wrong") != "done"
    fields = {"name": "ann", "password": PASSWORD}
    reply = first.answer("identity.open_session", fields, deadline_ms=50)
    lock = f"SELECT 1 FROM identity_lockout WHERE member_id = '{ann.member_id}' FOR UPDATE"
    # The lock is held until the deadline has passed.
    told, _ = await run_behind(nodes, lock, _after_its_deadline(reply), asyncio.sleep(0.06))
    assert told == "deadline_exceeded"
    assert await first.rows("SELECT guesses FROM identity_lockout") == [(1,)]


async def _after_its_deadline(reply: Awaitable[Any]) -> str:
    problem = (await reply).problem
    return "done" if problem is None else str(problem.name)


@pytest.mark.requirement("R7")
@pytest.mark.requirement("R8")
@pytest.mark.parametrize("action", ["open_session", "request_recovery", "complete_recovery"])
async def test_names_that_nobody_has_take_as_many_statements(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    first, box = nodes.halls[0], Letterbox()
    first.hall.house.ports[Senders] = Senders({"email": box})  # type: ignore[index] # it is a dict
    for name in ("alice", "bob"):
        await first.member(name)
    ann = await first.member("ann")
    asked = {"contact": "ann@example.org", "password": PASSWORD}
    assert await outcome(first, "add_contact", ann, **asked) == "done"
    told = {"contact": "ann@example.org", "code": box.codes["ann@example.org"]}
    assert await outcome(first, "verify_contact", ann, **told) == "done"
    fields: dict[str, Any] = {
        "open_session": {"password": "a wrong one"},
        "request_recovery": {},
        "complete_recovery": {"code": "abcd-efgh-ijkl-mnop", "new_password": "long and winding"},
    }[action]
    ran: ContextVar[list[str] | None] = ContextVar("ran", default=None)
    plain = PostgresTransaction._wait

    async def count(self: Any, method: Any, *arguments: Any) -> Any:
        statements = ran.get()
        if statements is not None:  # not of a node's own tasks
            statements.append(arguments[0])
        return await plain(self, method, *arguments)

    monkeypatch.setattr(PostgresTransaction, "_wait", count)
    for turn in range(2):
        costs = {}
        for name in ("ann", "alice", "nobody", "nobody else"):
            statements: list[str] = []
            ran.set(statements)
            await outcome(first, action, name=name, **fields)
            costs[name] = len(statements)
        assert len(set(costs.values())) == 1, (turn, costs)


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("seed", SEEDS)
async def test_unknown_names_are_bounded_and_counted(tmp_path: Path, seed: int) -> None:
    async with open_two(tmp_path, lockout={"unknown_names_max": 5}) as nodes:
        await meet(
            seed,
            (
                outcome(
                    nodes.halls[at % 2],
                    "open_session",
                    name=f"nobody {at}",
                    password=PASSWORD,
                    source=f"198.51.100.{at}",
                )
                for at in range(60)
            ),
        )
        rows = await nodes.halls[0].rows(
            "SELECT names, (SELECT count(*) FROM identity_unknown_name)"
            " FROM identity_unknown_name_count"
        )
        assert rows == [(5, 5)], seed


# --- sessions -------------------------------------------------------------------------------------


async def sign_in(hall: OpenHall, name: str, at: int) -> Any:
    fields = {"name": name, "password": PASSWORD}
    return await hall.call("identity.open_session", fields, source=f"203.0.113.{at}")


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_member_has_no_more_sessions_than_allowed(tmp_path: Path, seed: int) -> None:
    tables = {"sessions": {"per_member_max": 3}, "lockout": {"attempts_max": 100}}
    async with open_two(tmp_path, **tables) as nodes:
        await nodes.halls[0].member("alice")
        await meet(seed, (sign_in(nodes.halls[at % 2], "alice", at) for at in range(40)))
        rows = await nodes.halls[0].rows(
            "SELECT (SELECT count(*) FROM identity_session WHERE ended_at_ms IS NULL), open"
            " FROM identity_session_count"
        )
        assert rows == [(3, 3)], seed


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("seed", SEEDS)
async def test_the_hall_has_no_more_sessions_than_allowed(tmp_path: Path, seed: int) -> None:
    async with open_two(tmp_path, sessions={"per_hall_max": 9}) as nodes:
        for at in range(4):
            await nodes.halls[0].member(f"player {at}")
        told = await meet(
            seed,
            (
                outcome(
                    nodes.halls[at % 2],
                    "open_session",
                    name=f"player {at % 4}",
                    password=PASSWORD,
                    source=f"203.0.113.{at}",
                )
                for at in range(12)
            ),
        )
        assert Counter(told) == {"done": 5, "hall_full": 7}, seed
        assert await nodes.halls[0].rows("SELECT open FROM identity_session_count") == [(9,)]


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_refresh_token_at_two_nodes_at_once_has_one_successor(
    nodes: Nodes, seed: int
) -> None:
    first, second = nodes.halls
    await first.member("alice")
    opened = await sign_in(first, "alice", 1)
    fields = {"refresh_token": opened.refresh_token}
    told = await meet(
        seed, (hall.call("identity.refresh_session", fields) for hall in nodes.halls * 8)
    )
    assert {each.refresh_token for each in told} == {told[0].refresh_token}
    assert told[0].refresh_token != opened.refresh_token
    first.clock.advance(11_000)
    assert await outcome(second, "refresh_session", **fields) == "session_ended"
    newest = {"refresh_token": told[0].refresh_token}
    assert await outcome(first, "refresh_session", **newest) == "session_ended"
    events = [each.kind for each in await first.events("identity")]
    assert events.count("identity.session_ended") == 1


@pytest.mark.requirement("R5")
async def test_renewing_a_session_that_ends_at_the_other_node_gives_no_tokens(
    nodes: Nodes,
) -> None:
    first, second = nodes.halls
    await first.member("alice")
    here, there = await sign_in(first, "alice", 1), await sign_in(first, "alice", 2)
    alice = Visitor(here.member_id, here.name, here.session_id, here.access_token)
    lock = f"SELECT 1 FROM identity_session WHERE session_id = '{there.session_id}' FOR UPDATE"
    told = await run_behind(
        nodes,
        lock,
        outcome(second, "revoke_session", alice, session_id=there.session_id),
        outcome(first, "refresh_session", refresh_token=there.refresh_token),
    )
    assert told == ["done", "session_ended"]


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("seed", SEEDS)
async def test_signing_in_renewing_and_signing_out_do_not_hinder_each_other(
    tmp_path: Path, seed: int
) -> None:
    """Locks are taken in one order, so that nothing has to be run again for a deadlock."""
    tables = {"sessions": {"per_member_max": 4}, "lockout": {"attempts_max": 100}}
    async with open_two(tmp_path, **tables) as nodes:
        first = nodes.halls[0]
        await first.member("alice")
        opened = [await sign_in(first, "alice", at) for at in range(3)]
        one = opened[0]
        alice = Visitor(one.member_id, one.name, one.session_id, one.access_token)
        works: list[Awaitable[str]] = []
        for at in range(30):
            hall = nodes.halls[at % 2]
            some = opened[1 + at % 2]
            fields: dict[str, Any] = {"name": "alice", "password": PASSWORD}
            fields["source"] = f"203.0.113.{at}"
            works += [
                outcome(hall, "open_session", **fields),
                outcome(hall, "refresh_session", refresh_token=some.refresh_token),
                outcome(hall, "revoke_session", alice, session_id=some.session_id),
                outcome(hall, "close_other_sessions", alice),
            ]
        told = Counter(await meet(seed, works))
        assert not told.keys() - {
            "done", "session_ended", "session_not_found", "unauthenticated"
        }, (seed, told)  # fmt: skip
        deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert await first.rows(deadlocks) == [(0,)]


@pytest.mark.requirement("R16")
async def test_a_sign_in_that_meets_a_removal_opens_nothing(nodes: Nodes) -> None:
    first, second = nodes.halls
    boss, ann = await first.administrator("boss"), await first.member("ann")
    lock = f"SELECT 1 FROM identity_member WHERE member_id = '{ann.member_id}' FOR UPDATE"
    told = await run_behind(
        nodes,
        lock,
        outcome(first, "remove_member", boss, member="ann"),
        outcome(second, "open_session", name="ann", password=PASSWORD),
        outcome(second, "rename_self", ann, name="Annette"),
        outcome(second, "remove_member", boss, member="ann"),
    )
    assert told[0] == "done"
    assert "done" not in told[1:], told
    rows = await first.rows(
        "SELECT name, (SELECT count(*) FROM identity_session AS s"
        " WHERE s.member_id = m.member_id AND ended_at_ms IS NULL)"
        " FROM identity_member AS m WHERE member_id = $1",
        ann.member_id,
    )
    assert rows == [("", 0)]
    events = [each.kind for each in await first.events("identity")]
    assert events.count("identity.member_removed") == 1


# --- what is used once ----------------------------------------------------------------------------


@pytest.mark.requirement("R10")
@pytest.mark.parametrize("seed", SEEDS)
async def test_an_invitation_at_two_nodes_makes_as_many_accounts_as_it_says(
    tmp_path: Path, seed: int
) -> None:
    async with open_two(tmp_path, registration={"mode": "invite"}) as nodes:
        first = nodes.halls[0]
        boss = await found(first)
        made = await first.call("identity.create_invitation", {"uses": 3}, as_=boss)
        told = await meet(
            seed,
            (
                outcome(
                    nodes.halls[at % 2],
                    "register",
                    name=f"player {at}",
                    password=PASSWORD,
                    invitation=made.code,
                )
                for at in range(20)
            ),
        )
        assert Counter(told) == {"done": 3, "invitation_refused": 17}, seed


async def found(hall: OpenHall) -> Visitor:
    """Return the administrator of a hall in which nobody can register."""
    await hall.hall.database.write(_add_boss)
    boss = await hall.sign_in("boss")
    await hall.claim(boss)
    return boss


async def _add_boss(tx: Any) -> None:
    sql = """
    INSERT INTO identity_member (member_id, name, name_key, skeleton, password_hash, created_at_ms)
    VALUES ('01hzzzzzzzzzzzzzzzzzzzzzzz', 'boss', 'boss', 'boss', $1, 1)
    """
    await tx.execute(sql, await CheapHasher().hash(PASSWORD))


@pytest.mark.requirement("R10")
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_name_at_two_nodes_is_given_once(nodes: Nodes, seed: int) -> None:
    names = ["ann", "Ann", "ANN", "\u0251nn"] * 6  # the last one looks like the others
    told = await meet(
        seed,
        (
            outcome(nodes.halls[at % 2], "register", name=name, password=PASSWORD)
            for at, name in enumerate(names)
        ),
    )
    assert Counter(told) == {"done": 1, "name_taken": 23}, seed


@pytest.mark.requirement("R8")
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_recovery_code_at_two_nodes_is_good_once(nodes: Nodes, seed: int) -> None:
    first = nodes.halls[0]
    boss = await first.administrator("boss")
    await first.member("alice")
    issued = await first.call("identity.issue_recovery_code", {"member": "alice"}, as_=boss)
    told = await meet(
        seed,
        (
            outcome(
                nodes.halls[at % 2],
                "complete_recovery",
                name="alice",
                code=issued.code,
                new_password=f"another password {at}",
            )
            for at in range(8)
        ),
    )
    assert told.count("done") == 1, (seed, told)
    assert set(told) == {"done", "recovery_refused"}


class Letterbox:
    """Implements Sender; keeps the code of each message by its address."""

    def __init__(self) -> None:
        self.codes: dict[str, str] = {}

    async def send(self, address: str, subject: str, text: str) -> None:
        self.codes[address] = text.split("Your code is ")[1][:8]


@pytest.mark.requirement("R10")
@pytest.mark.parametrize("seed", SEEDS)
async def test_contacts_at_two_nodes_are_bounded_and_never_the_last_one_goes(
    tmp_path: Path, seed: int
) -> None:
    async with open_two(tmp_path, registration={"contacts_per_member_max": 2}) as nodes:
        first, box = nodes.halls[0], Letterbox()
        for hall in nodes.halls:
            hall.hall.house.ports[Senders] = Senders({"email": box})  # type: ignore[index]
        ann = await first.member("ann")
        addresses = [f"ann{at}@example.org" for at in range(5)]
        for at, address in enumerate(addresses):
            asked = {"contact": address, "password": PASSWORD, "source": f"203.0.113.{at}"}
            assert await outcome(first, "add_contact", ann, **asked) == "done"
        told = await meet(
            seed,
            (
                outcome(
                    nodes.halls[at % 2], "verify_contact", ann, contact=each, code=box.codes[each]
                )
                for at, each in enumerate(addresses * 2)
            ),
        )
        assert told.count("done") == 2, (seed, told)
        assert len(await first.rows("SELECT 1 FROM identity_contact")) == 2


@pytest.mark.requirement("R5")
async def test_an_assertion_at_two_nodes_is_taken_once(nodes: Nodes) -> None:
    first = nodes.halls[0]
    boss = await first.administrator("boss")
    fields = {"audience": BOARDS, "server_key": shown(KEY)}
    await first.call("identity.add_audience", fields, as_=boss)
    for number in range(5):
        text = assertion(first, number)
        told = await meet(
            number,
            (outcome(hall, "open_server_session", assertion=text) for hall in nodes.halls * 4),
        )
        assert Counter(told) == {"done": 1, "server_refused": 7}


@pytest.mark.requirement("R11")
@pytest.mark.parametrize("seed", SEEDS)
async def test_rotating_at_two_nodes_at_once_makes_one_key(nodes: Nodes, seed: int) -> None:
    first = nodes.halls[0]
    boss = await first.administrator("boss")
    told = await meet(seed, (outcome(hall, "rotate_keys", boss) for hall in nodes.halls * 4))
    assert Counter(told) == {"done": 1, "rotation_pending": 7}, seed
    assert await first.rows("SELECT count(*) FROM identity_key") == [(2,)]


@pytest.mark.requirement("R11")
@pytest.mark.parametrize("seed", SEEDS)
async def test_audiences_at_two_nodes_are_bounded(tmp_path: Path, seed: int) -> None:
    async with open_two(tmp_path, tokens={"audiences_max": 3}) as nodes:
        boss = await nodes.halls[0].administrator("boss")
        told = await meet(
            seed,
            (
                outcome(nodes.halls[at % 2], "add_audience", boss, audience=f"urn:server{at}")
                for at in range(12)
            ),
        )
        assert Counter(told) == {"done": 3, "too_many_audiences": 9}, seed
