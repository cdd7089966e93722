"""What several nodes of one hall count of accounts and guesses, exactly."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from moothall.core.units import MINUTE_MS
from moothall.ports.hasher import PasswordHasher
from moothall.services.identity.adapters.guesses import GuessesUnderWay
from moothall.services.identity.adapters.senders import Senders
from moothall.storage.postgres.transaction import PostgresTransaction
from moothall.testing.hall import PASSWORD, CheapHasher
from tests.nodes.boards import run_behind
from tests.nodes.identity import SEEDS, Letterbox, meet, open_two, outcome
from tests.nodes.watching import until
from tests.servers.nodes import Nodes
from tests.unit.services.identity.test_guesses import try_all, try_one, watch


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    async with open_two(tmp_path) as opened:
        yield opened


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
