"""A resource server and its issuer, in one test: what is learned, kept, refused and forgotten."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from moothall.action import Restored
from moothall.action.connections import CloseReason
from moothall.action.cursor import Cursors
from moothall.action.jobs import Job, JobRunner, SoleHolder
from moothall.action.restore import renew_epoch
from moothall.core.errors import ConfigurationError
from moothall.core.units import DAY_MS, MINUTE_MS, SECOND_MS
from moothall.services.identity.adapters.follower import (
    ENDED_KEPT_MS,
    FeedWatch,
    FollowedKeys,
    FollowedMembers,
    read_keys,
)
from moothall.services.identity.restore import after_restore
from moothall.testing import NearIssuer, OpenHall, ProblemError, Visitor, open_test_hall
from tests.unit.services.identity.server_calls import rotate_now

BOARDS = "https://boards.test"
ROOMS = ("hall",)

Condition = Callable[[], Any]


async def until(condition: Condition) -> None:
    """Let the other tasks run until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing tells when a job is through
            await asyncio.sleep(0)


async def until_rows(hall: OpenHall, sql: str, expected: list[tuple[object, ...]]) -> None:
    """Let the other tasks run until the rows are these."""
    async with asyncio.timeout(10):
        while await hall.rows(sql) != expected:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)


@dataclass
class Pair:
    """Both halls, and whoever administers the issuer."""

    home: OpenHall
    near: NearIssuer
    boss: Visitor
    folder: Path

    async def enrol(self) -> None:
        key = {"audience": BOARDS, "server_key": self.near.server_key}
        await self.home.call("identity.set_server_key", key, as_=self.boss)

    @asynccontextmanager
    async def boards(self, *, is_following: bool = True) -> AsyncIterator[OpenHall]:
        """Open the resource server; its jobs that follow run as in a process of its own."""
        async with open_test_hall(
            self.folder, follows=self.near, clock=self.home.clock, rooms=ROOMS
        ) as hall:
            jobs = ("follow_issuer", "fetch_issuer_keys") if is_following else ()
            tasks = [asyncio.create_task(self._repeat(hall, job)) for job in jobs]
            try:
                if is_following:
                    await until(lambda: self.near.is_followed)
                yield hall
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def caught_up(self, boards: OpenHall) -> None:
        """Return when the resource server has written down all that it was told."""
        sql = "SELECT max(cursor) FROM action_event WHERE stream = 'identity/revocations'"
        [(last,)] = await self.home.rows(sql)
        await until_rows(boards, "SELECT cursor FROM identity_issuer", [(self.home.cursor(last),)])

    async def visitor(self, name: str) -> Visitor:
        """Return a member with a token for the resource server."""
        return await self.home.token_for(await self.home.member(name), BOARDS)

    @staticmethod
    async def _repeat(hall: OpenHall, job: str) -> None:
        while True:
            await hall.run_job(f"identity.{job}")


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """An issuer where the resource server is registered, with its key."""
    async with open_test_hall(tmp_path / "home", rooms=ROOMS) as home:
        boss = await home.administrator("boss")
        await home.call("identity.add_audience", {"audience": BOARDS}, as_=boss)
        pair = Pair(home, NearIssuer(home, BOARDS), boss, tmp_path / "boards")
        await pair.enrol()
        yield pair


async def get_self(hall: OpenHall, who: Visitor) -> str:
    """Return the name by which a member is known, or the name of the problem."""
    try:
        return str((await hall.call("identity.get_self", as_=who)).name)
    except ProblemError as problem:
        return problem.name


async def names(hall: OpenHall) -> list[str]:
    rows = await hall.rows("SELECT name FROM identity_member ORDER BY name")
    return [row[0] for row in rows]


# --- what is served -------------------------------------------------------------------------------


@pytest.mark.requirement("R3")
async def test_only_what_needs_no_credentials_is_served(pair: Pair) -> None:
    async with pair.boards() as boards:
        served = {name for name in boards.hall.catalog.actions if name.startswith("identity.")}
        assert served == {
            "identity.add_members",
            "identity.authenticate",
            "identity.export_member",
            "identity.export_self",
            "identity.find_member",
            "identity.get_self",
            "identity.list_members",
            "identity.name_members",
        }
        jobs = {job.name for job in boards.hall.catalog.rooms["identity"].jobs}
        assert "identity.follow_issuer" in jobs
        assert "identity.rotate_due_keys" not in jobs
        assert "identity.follow_issuer" not in {
            job.name for job in pair.home.hall.catalog.rooms["identity"].jobs
        }
        unknown = await boards.answer("identity.open_session", {"name": "a", "password": "b"})
        assert unknown.problem is not None
        assert unknown.problem.code == "unimplemented"
        assert boards.hall.public_jwks() == b'{"keys":[]}'
        with pytest.raises(RuntimeError, match="signs no tokens"):
            boards.hall.keys.signing_key()


@pytest.mark.requirement("R3")
async def test_a_member_is_known_from_the_first_call_on(pair: Pair) -> None:
    async with pair.boards() as boards:
        ann = await pair.visitor("ann")
        assert await names(boards) == []
        assert await get_self(boards, ann) == "ann"
        assert await names(boards) == ["ann"]
        rows = await boards.rows("SELECT actor, action, path FROM access_audit ORDER BY number")
        assert (ann.member_id, "action.arrive", f"member/{ann.member_id}") in rows
        count = len(rows)
        assert await get_self(boards, ann) == "ann"
        assert await boards.rows("SELECT count(*) FROM access_audit") == [(count,)], "written once"


@pytest.mark.requirement("R2", "R3")
async def test_tokens_for_others_are_refused_and_write_nobody_down(pair: Pair) -> None:
    async with pair.boards() as boards:
        other = {"audience": "https://other.test"}
        await pair.home.call("identity.add_audience", other, as_=pair.boss)
        ann = await pair.home.member("ann")
        for_other = await pair.home.token_for(ann, "https://other.test")
        for who in (ann, for_other):
            assert await get_self(boards, who) == "unauthenticated"
        assert await names(boards) == []
        for_boards = await pair.home.token_for(ann, BOARDS)
        assert await get_self(pair.home, for_boards) == "unauthenticated"


@pytest.mark.requirement("R11")
async def test_roles_and_the_first_administrator_are_its_own(pair: Pair) -> None:
    async with pair.boards() as boards:
        boss = await pair.home.token_for(pair.boss, BOARDS)
        check = {"permission": "*"}
        assert not (await boards.call("access.check", check, as_=boss)).is_allowed
        ann = await pair.visitor("ann")
        await boards.claim(ann)
        assert (await boards.call("access.check", check, as_=ann)).is_allowed
        at_home = await pair.home.sign_in("ann")
        assert not (await pair.home.call("access.check", check, as_=at_home)).is_allowed


# --- sessions and members -------------------------------------------------------------------------


@pytest.mark.requirement("R5")
async def test_a_session_that_ends_ends_here_too_and_stays_so_after_a_restart(pair: Pair) -> None:
    async with pair.boards() as boards:
        at_home = await pair.home.member("ann")
        ann = await pair.home.token_for(at_home, BOARDS)
        line = await boards.connect(ann)
        assert await get_self(boards, ann) == "ann"
        await pair.home.call("identity.close_session", as_=at_home)
        await until(lambda: line.reason)
        assert line.reason is CloseReason.SESSION_ENDED
        assert await get_self(boards, ann) == "unauthenticated"
        again = await pair.home.token_for(await pair.home.sign_in("ann"), BOARDS)
        assert await get_self(boards, again) == "ann"
    pair.near.go_away()
    async with pair.boards(is_following=False) as boards:
        assert await get_self(boards, ann) == "unauthenticated"
        assert await get_self(boards, again) == "ann", "a restart needs no issuer"


@pytest.mark.requirement("R5")
async def test_what_happened_while_it_was_away_is_learned_afterwards(pair: Pair) -> None:
    at_home = [await pair.home.member(name) for name in ("ann", "bob")]
    ann, bob = [await pair.home.token_for(one, BOARDS) for one in at_home]
    async with pair.boards() as boards:
        assert await get_self(boards, ann) == "ann"
    await pair.home.call("identity.close_session", as_=at_home[0])
    await pair.home.call("identity.rename_self", {"name": "robert"}, as_=at_home[1])
    async with pair.boards() as boards:
        await pair.caught_up(boards)
        assert await get_self(boards, ann) == "unauthenticated"
        assert await get_self(boards, bob) == "bob", "nobody knew him: his token says so"


@pytest.mark.requirement("R5")
async def test_ended_sessions_are_forgotten_when_no_token_of_theirs_can_live(pair: Pair) -> None:
    async with pair.boards() as boards:
        at_home = await pair.home.member("ann")
        await pair.home.call("identity.close_session", as_=at_home)
        count = "SELECT count(*) FROM identity_issuer_session"
        await until_rows(boards, count, [(1,)])
        pair.home.clock.advance(ENDED_KEPT_MS - 1)
        await boards.run_job("identity.sweep_ended_sessions")
        assert await boards.rows(count) == [(1,)]
        pair.home.clock.advance(1)
        await boards.run_job("identity.sweep_ended_sessions")
        assert await boards.rows(count) == [(0,)]
        # An event of long ago is not kept at all.
        pair.near.go_away()
        bob = await pair.home.member("bob")
        await pair.home.call("identity.close_session", as_=bob)
        pair.home.clock.advance(ENDED_KEPT_MS)
    pair.near.come_back()
    async with pair.boards() as boards:
        await pair.caught_up(boards)
        assert await boards.rows(count) == [(0,)]


@pytest.mark.requirement("R16")
async def test_a_removed_member_is_a_tombstone_here_at_once_and_erased(pair: Pair) -> None:
    async with pair.boards() as boards:
        ann, bob = await pair.visitor("ann"), await pair.visitor("bob")
        await boards.claim(bob)
        assert await get_self(boards, ann) == "ann"
        grant = {"member": "ann", "role": "operator", "at": ""}
        await boards.call("access.grant_role", grant, as_=bob)
        line = await boards.connect(ann)
        await pair.home.call("identity.remove_member", {"member": "ann"}, as_=pair.boss)
        await until(lambda: line.reason)
        assert await get_self(boards, ann) == "unauthenticated"
        await until_rows(
            boards,
            f"SELECT count(*) FROM access_binding WHERE subject = '{ann.member_id}'",
            [(0,)],
        )
        found = await boards.call("identity.find_member", {"member": ann.member_id}, as_=bob)
        assert (found.name, found.is_removed) == ("", True)
        pair.home.clock.advance(2 * MINUTE_MS)
        await boards.run_job("identity.finish_removals")
        unerased = "SELECT count(*) FROM identity_member WHERE erased_at_ms IS NULL AND name = ''"
        assert await boards.rows(unerased) == [(0,)]


@pytest.mark.requirement("R16")
async def test_the_last_administrator_goes_too_if_the_issuer_says_so(pair: Pair) -> None:
    async with pair.boards() as boards:
        ann = await pair.visitor("ann")
        await boards.claim(ann)
        line = await boards.connect(ann)
        with capture_logs() as logs:
            await pair.home.call("identity.remove_member", {"member": "ann"}, as_=pair.boss)
            await until(lambda: line.reason)
            bound = f"SELECT count(*) FROM access_binding WHERE subject = '{ann.member_id}'"
            await until_rows(boards, bound, [(0,)])
        assert "a member who was needed was removed" in [log["event"] for log in logs]
        authority = boards.hall.house.authority
        rights = await boards.hall.database.read(lambda tx: authority.rights_of(tx, ann.member_id))
        assert not rights.allows("*", "")


@pytest.mark.requirement("R5", "R16")
async def test_where_the_cursor_is_lost_names_tell_what_happened(pair: Pair) -> None:
    async with pair.boards() as boards:
        ann, bob = await pair.visitor("ann"), await pair.visitor("bob")
        for who in (ann, bob):
            await get_self(boards, who)
    await pair.home.call("identity.remove_member", {"member": "ann"}, as_=pair.boss)
    await pair.home.call(
        "identity.rename_member", {"member": "bob", "name": "robert"}, as_=pair.boss
    )
    swept = "UPDATE action_epoch SET swept_cursor = (SELECT max(cursor) FROM action_event)"
    await pair.home.hall.database.write(lambda tx: tx.execute(swept))
    async with pair.boards() as boards:
        await until_rows(
            boards, "SELECT name FROM identity_member ORDER BY name", [("",), ("robert",)]
        )


async def restore(hall: OpenHall) -> None:
    """Let happen to an issuer what a restore does to its rows: it forgets who follows it."""
    before = await hall.hall.database.write(lambda tx: renew_epoch(tx, "0badcafe"))
    await hall.hall.database.read(hall.hall.house.use(Cursors).load)
    restored = Restored(
        backup_id="b", taken_at_ms=0, epoch_before=before, epoch="0badcafe", keeps_sessions=False
    )
    job = Job("identity", "identity.after_restore", 100, lambda ctx: after_restore(ctx, restored))
    await JobRunner(hall.hall.house, [job], SoleHolder()).run(job.name)


@pytest.mark.requirement("R5")
async def test_after_the_issuer_was_restored_no_token_of_before_is_good(pair: Pair) -> None:
    async with pair.boards() as boards:
        ann = await pair.visitor("ann")
        assert await get_self(boards, ann) == "ann"
        pair.near.go_away()
        await restore(pair.home)
        pair.near.come_back()
        async with asyncio.timeout(10):
            while await get_self(boards, ann) != "unauthenticated":  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
        again = await pair.home.token_for(await pair.home.sign_in("ann"), BOARDS)
        async with asyncio.timeout(10):
            while await get_self(boards, again) != "ann":  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.requirement("R16")
async def test_a_new_name_is_shown_at_once_and_old_tokens_do_not_take_it_back(pair: Pair) -> None:
    async with pair.boards() as boards:
        at_home = await pair.home.member("ann")
        old = await pair.home.token_for(at_home, BOARDS)
        assert await get_self(boards, old) == "ann"
        pair.home.clock.advance(SECOND_MS)
        await pair.home.call("identity.rename_self", {"name": "anna"}, as_=at_home)
        await until_rows(boards, "SELECT name FROM identity_member", [("anna",)])
        assert await get_self(boards, old) == "anna"
        new = await pair.home.token_for(at_home, BOARDS)
        assert await get_self(boards, new) == "anna"
    async with pair.boards(is_following=False) as boards:
        assert await get_self(boards, old) == "anna", "nor after a restart"


async def test_without_the_feed_a_newer_token_tells_the_new_name(pair: Pair) -> None:
    async with pair.boards(is_following=False) as boards:
        at_home = await pair.home.member("ann")
        old = await pair.home.token_for(at_home, BOARDS)
        assert await get_self(boards, old) == "ann"
        await pair.home.call("identity.rename_self", {"name": "anna"}, as_=at_home)
        pair.home.clock.advance(SECOND_MS)
        new = await pair.home.token_for(at_home, BOARDS)
        assert await get_self(boards, new) == "anna"
        assert await get_self(boards, old) == "anna"


async def test_imported_names_step_aside_for_their_owners(pair: Pair) -> None:
    async with pair.boards() as boards:
        boss = await pair.home.token_for(pair.boss, BOARDS)
        await boards.claim(boss)
        added = await boards.call("identity.add_members", {"names": ["Ann"]}, as_=boss)
        [imported] = [one.member_id for one in added.members]
        ann = await pair.visitor("ann")
        assert await get_self(boards, ann) == "ann"
        assert ann.member_id != imported
        shown = await boards.call("identity.find_member", {"member": imported}, as_=boss)
        assert shown.name == "Ann (imported)"
        # Whoever looks alike steps aside too.
        await boards.call("identity.add_members", {"names": ["bob"]}, as_=boss)
        look = await pair.visitor("b0b")
        assert await get_self(boards, look) == "b0b"
        assert await names(boards) == ["Ann (imported)", "ann", "b0b", "bob (imported)", "boss"]


async def test_a_name_that_went_to_somebody_else_at_the_issuer_does_so_here(pair: Pair) -> None:
    async with pair.boards(is_following=False) as boards:
        at_home = await pair.home.member("ann")
        ann = await pair.home.token_for(at_home, BOARDS)
        assert await get_self(boards, ann) == "ann"
        await pair.home.call("identity.rename_self", {"name": "zoe"}, as_=at_home)
        pair.home.clock.advance(31 * DAY_MS)
        other = await pair.visitor("ann")
        assert await get_self(boards, other) == "ann"
        assert await names(boards) == ["ann", "ann (former)"]


async def test_members_beyond_those_in_memory_are_looked_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moothall.services.identity.adapters.follower.KNOWN_MAX", 8)
    async with pair.boards(is_following=False) as boards:
        people = [await pair.visitor(f"member{number}") for number in range(12)]
        for _ in range(2):
            for person in people:
                assert await get_self(boards, person) == person.name
        known = boards.hall.house.use(FollowedMembers)
        assert len([one for one in people if known.knows(one.member_id, one.name, 0)]) <= 8


# --- keys -----------------------------------------------------------------------------------------


@pytest.mark.requirement("R2", "R3")
async def test_keys_follow_a_rotation_and_a_retired_one_is_refused_at_once(pair: Pair) -> None:
    async with pair.boards() as boards:
        at_home = await pair.home.member("ann")
        before = await pair.home.token_for(at_home, BOARDS)
        ring = boards.hall.house.use(FollowedKeys)
        await pair.home.call("identity.rotate_keys", as_=pair.boss)
        keys = [one.kid for one in (await list_keys(pair)).keys]
        assert len(keys) == 2
        await until(lambda: all(ring.verifying_key(kid) for kid in keys))
        pair.home.clock.advance(11 * MINUTE_MS)
        at_home = pair.home.renew(at_home)
        after = await pair.home.token_for(at_home, BOARDS)
        assert await get_self(boards, after) == "ann"
        assert await get_self(boards, before) == "unauthenticated", "it expired"

        fresh = await pair.home.token_for(at_home, BOARDS)
        current = [one.kid for one in (await list_keys(pair)).keys if one.state.value == "current"]
        boss = pair.home.renew(pair.boss)
        await pair.home.call("identity.retire_key", {"kid": current[0]}, as_=boss)
        await until(lambda: ring.verifying_key(current[0]) is None)
        await pair.caught_up(boards)
        assert await get_self(boards, fresh) == "unauthenticated"
    pair.near.go_away()
    async with pair.boards(is_following=False) as boards:
        assert await get_self(boards, fresh) == "unauthenticated", "nor after a restart"


@pytest.mark.requirement("R2")
async def test_a_restart_after_the_only_known_key_was_retired_needs_no_issuer(pair: Pair) -> None:
    async with pair.boards(is_following=False) as boards:
        ann = await pair.visitor("ann")
        following = asyncio.create_task(boards.run_job("identity.follow_issuer"))
        await until(lambda: pair.near.is_followed)
        kid = pair.home.hall.keys.signing_key().kid
        await pair.home.call("identity.retire_key", {"kid": kid}, as_=pair.boss)
        await pair.caught_up(boards)  # and the new key was not fetched yet
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    pair.near.go_away()
    async with pair.boards(is_following=False) as boards:
        assert await get_self(boards, ann) == "unauthenticated"


async def list_keys(pair: Pair) -> Any:
    return await pair.home.call("identity.list_keys", as_=pair.home.renew(pair.boss))


@pytest.mark.requirement("R3")
async def test_an_unknown_key_is_a_reason_to_fetch_but_not_too_often(pair: Pair) -> None:
    async with pair.boards(is_following=False) as boards:
        await boards.run_job("identity.fetch_issuer_keys")
        at_home = await pair.home.member("ann")
        await rotate_now(pair.home, pair.boss)
        ann = await pair.home.token_for(at_home, BOARDS)
        assert await get_self(boards, ann) == "unauthenticated", "its key was never seen"
        await boards.run_job("identity.fetch_issuer_keys")  # at once, or it would wait for 30 s
        assert await get_self(boards, ann) == "ann"
        ring = boards.hall.house.use(FollowedKeys)
        pair.home.clock.advance(4_999)
        assert ring.verifying_key("unheard of") is None
        assert not await ring.wait_wanted(0)
        pair.home.clock.advance(1)
        assert ring.verifying_key("unheard of") is None
        assert await ring.wait_wanted(0)


@pytest.mark.requirement("R2", "R15")
async def test_an_issuer_of_another_name_is_not_believed(pair: Pair, tmp_path: Path) -> None:
    async with (
        pair.boards(is_following=False) as boards,
        open_test_hall(tmp_path / "false", rooms=ROOMS, public_url="https://false.test") as false,
    ):
        ann = await pair.visitor("ann")
        assert await get_self(boards, ann) == "ann"
        pair.near.hall = false
        with capture_logs() as logs:
            await boards.run_job("identity.fetch_issuer_keys")
        assert [log["log_level"] for log in logs] == ["error"]
        assert await get_self(boards, ann) == "ann"


@pytest.mark.parametrize(
    "jwks",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": []}',
        b'{"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "x": "AA", "y": "AA"}]}',
        b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a"}]}',
        b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "AAAA"}]}',
        b'{"keys": [' + b" " * 70_000 + b"]}",
    ],
)
def test_what_is_no_set_of_keys_is_refused(jwks: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_keys(jwks)


# --- the issuer is away, or does not know the server ----------------------------------------------


@pytest.mark.requirement("R3")
async def test_without_its_key_registered_it_works_and_says_so_once(pair: Pair) -> None:
    other = NearIssuer(pair.home, BOARDS)  # with a key of its own, which nobody registered
    async with open_test_hall(
        pair.folder, follows=other, clock=pair.home.clock, rooms=ROOMS
    ) as boards:
        watch = boards.hall.house.use(FeedWatch)
        with capture_logs() as logs:
            for count in (1, 2):
                job = asyncio.create_task(boards.run_job("identity.follow_issuer"))
                await until(lambda count=count: watch.failures == count)  # type: ignore[misc]
                job.cancel()
        assert [log["event"] for log in logs if log["log_level"] == "warning"] == [
            "the issuer does not know this resource server, so it learns of nothing at once"
        ]
        assert await get_self(boards, await pair.visitor("ann")) == "ann"


@pytest.mark.requirement("R3")
async def test_the_first_start_needs_the_issuer(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moothall.app.issuer.MEET_SECONDS_MAX", 0.0)
    pair.near.go_away()
    with pytest.raises(ConfigurationError, match=r"https://issuer\.test was never reached"):
        async with pair.boards():
            pass
    pair.near.come_back()
    async with pair.boards(is_following=False):
        pass
    pair.near.go_away()
    async with pair.boards(is_following=False):
        pass


async def test_a_folder_belongs_to_one_kind_of_hall(pair: Pair, tmp_path: Path) -> None:
    async with pair.boards(is_following=False):
        pass
    with pytest.raises(ConfigurationError, match="belongs to a resource server of"):
        async with open_test_hall(pair.folder, rooms=ROOMS):
            pass
    async with open_test_hall(tmp_path / "full", rooms=ROOMS):
        pass
    with pytest.raises(ConfigurationError, match="signs people in itself"):
        async with open_test_hall(tmp_path / "full", follows=pair.near, rooms=ROOMS):
            pass
