"""The index against a model that walks over all rows, and what it owes to each case.

It has room for two members, or for none, so that nearly each question reads somebody anew.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product

import pytest

from moothall.action import EVERYONE
from moothall.services.access.model import Ground, Held
from moothall.services.access.rules.index import BindingIndex, is_member
from moothall.services.access.rules.rights import Rights
from moothall.services.identity.model import SERVERS
from tests.unit.services.access.naive_access import NaiveAccess

MEMBERS = ["ann", "bob", "cid", "dot"]
TEAMS = ["team:a", "team:b", "team:a-b"]
SUBJECTS = [*MEMBERS, *TEAMS, EVERYONE, SERVERS, "room:leaderboards"]
PRINCIPALS = [
    *MEMBERS, "stranger", "", EVERYONE, "team:a", "room:leaderboards", "room:ledger", "server:7",
]  # fmt: skip
ASKING = [*PRINCIPALS, *MEMBERS]  # these twice as often
ROLES = ["reader", "writer", "chief", "made"]
PERMISSIONS = ["scores:read", "scores:write", "ledger:transfer", "sessions:own", "*", "un:known"]
# Some are a prefix of each other's text but do not lie above each other; some differ in case only.
SEGMENTS = ["org", "Org", "orga", "o", "1", "10", "1.a", "1-", "x", "X"]
CHECKS = 100_000
ROWS_MAX = 30


def random_paths(chance: random.Random) -> list[str]:
    """A small tree, so that paths of bindings and of questions meet."""
    paths = ["", "org", "org/1", "org/10", "org/1/x", "org/1/X", "Org/1", "orga"]
    for _ in range(8):
        above = chance.choice(paths)
        segment = chance.choice(SEGMENTS)
        paths.append(f"{above}/{segment}" if above else segment)
    return paths


@dataclass
class Pair:
    """The index and the model, changed alike: first the rows, then by a hook the index."""

    index: BindingIndex
    model: NaiveAccess
    hooks: deque[Callable[[], None]] | None = None
    """Where hooks wait, as between a commit and its end; None runs each at once."""
    reading: list[tuple[str, object, Held]] = field(default_factory=list)
    """Whose rows were read and are not in the index yet."""

    def after(self, hook: Callable[[], None]) -> None:
        if self.hooks is None:
            hook()
        else:
            self.hooks.append(hook)

    def run_hooks(self) -> None:
        for hook in self.hooks or ():
            hook()
        self.hooks = None

    def rights(self, principal: str) -> Rights:
        """What a call of the principal would find in memory."""
        if not self.index.keep(principal):
            mark = self.index.begin_reading(principal)
            assert self.index.insert(principal, mark, self.model.held_by(principal))
        rights = self.index.rights_in_memory(principal)
        self.index.release(principal)
        return rights

    def begin_reading(self, principal: str) -> None:
        """Read the rows of somebody who is not in memory, slowly."""
        if is_member(principal) and self.index.find_rights(principal) is None:
            mark = self.index.begin_reading(principal)
            self.reading.append((principal, mark, self.model.held_by(principal)))

    def end_reading(self, number: int) -> bool:
        """Take the rows into the index, if they may count."""
        principal, mark, held = self.reading.pop(number)
        is_taken = self.index.insert(principal, mark, held)
        if is_taken:
            self.index.release(principal)
        self.index.end_reading(principal, mark)
        return is_taken

    def define(self, role: str, permissions: set[str]) -> None:
        self.model.roles[role] = permissions
        self.after(lambda: self.index.define(role, permissions))

    def bind(self, subject: str, role: str, path: str) -> None:
        self.model.bindings.add((subject, role, path))
        self.after(lambda: self.index.bind(subject, role, path))

    def unbind(self, subject: str, role: str, path: str) -> None:
        self.model.bindings.discard((subject, role, path))
        self.after(lambda: self.index.unbind(subject, role, path))

    def join(self, team: str, member: str) -> None:
        self.model.teams.add((team, member))
        self.after(lambda: self.index.join(team, member))

    def leave(self, team: str, member: str) -> None:
        self.model.teams.discard((team, member))
        self.after(lambda: self.index.leave(team, member))

    def disband(self, team: str) -> None:
        members = sorted(who for name, who in self.model.teams if name == team)
        self.model.teams = {pair for pair in self.model.teams if pair[0] != team}
        self.model.bindings = {one for one in self.model.bindings if one[0] != team}
        self.after(lambda: self.index.disband(team, members))

    def ban(self, member: str, path: str, until_ms: int | None) -> None:
        self.model.bans[member, path] = until_ms
        self.after(lambda: self.index.ban(member, path, until_ms))

    def lift(self, member: str, path: str) -> None:
        self.model.bans.pop((member, path), None)
        self.after(lambda: self.index.lift(member, path))

    def forget(self, role: str) -> None:
        for triple in [one for one in self.model.bindings if one[1] == role]:
            self.unbind(*triple)
        self.after(lambda: self.index.forget(role))
        self.define(role, set())


def new_pair(rows_max: int = 0) -> Pair:
    model = NaiveAccess(now_ms=1_000)
    pair = Pair(BindingIndex(lambda: model.now_ms, rows_max), model)
    pair.define("reader", {"scores:read", "sessions:own"})
    pair.define("writer", {"scores:read", "scores:write"})
    pair.define("chief", {"*"})
    pair.define("made", {"ledger:transfer"})
    room = "room:leaderboards"
    assert pair.index.insert(room, pair.index.begin_reading(room), Held())
    return pair


def change_something(pair: Pair, chance: random.Random, paths: list[str]) -> None:
    """One random change, as calls would make it."""
    model, path = pair.model, chance.choice(paths)
    subject, role = chance.choice(SUBJECTS), chance.choices(ROLES, [4, 4, 1, 3])[0]
    team, member = chance.choice(TEAMS), chance.choice(MEMBERS)
    held = chance.sample(PERMISSIONS[:4], chance.randint(0, 2))

    def unbind() -> None:
        pair.unbind(*chance.choice(sorted(model.bindings) or [(subject, role, path)]))

    def lift() -> None:
        pair.lift(*chance.choice(sorted(model.bans) or [(member, path)]))

    def wait() -> None:
        model.now_ms = max(0, model.now_ms + chance.randint(-150, 160))

    until_ms = chance.choice([None, model.now_ms + chance.randint(-100, 1_000)])
    changes: list[Callable[[], object]] = [
        lambda: pair.bind(subject, role, path),
        unbind,
        lambda: pair.join(team, member),
        lambda: pair.leave(team, member),
        lambda: pair.ban(member, path, until_ms),
        lift,
        lambda: pair.define("made", set(held)),
        lambda: pair.disband(team),
        lambda: pair.forget("made"),
        wait,
    ]
    is_full = len(model.bindings) >= ROWS_MAX
    chance.choices(changes, [0 if is_full else 16, 4, 6, 3, 3, 3, 2, 1, 1, 2])[0]()


def differences(pair: Pair, asked: tuple[str, str, str]) -> Iterator[str]:
    """Where index and model disagree about one check and its explanation."""
    expected = pair.model.allows(*asked)
    principal, permission, path = asked
    rights = pair.rights(principal)
    if rights.allows(permission, path) is not expected:
        yield f"allows{asked} is not {expected}"
    grounds = pair.model.grounds(*asked)
    nearest = (
        Ground(subject=grounds[0][0], role=grounds[0][1], at=grounds[0][2]) if grounds else None
    )
    if rights.find_ground(permission, path) != nearest:
        yield f"find_ground{asked} is not {nearest}"
    if (rights.find_ban(path) is not None) is not pair.model.is_banned(principal, path):
        yield f"find_ban{asked}"


def rows_of(pair: Pair) -> int:
    """How much is in memory, counted one by one."""
    return sum(1 + len(r.own) + len(r.teams) + len(r.bans) for r in pair.index._rights.values())


@pytest.mark.requirement("R20")
@pytest.mark.requirement("R21")
@pytest.mark.requirement("R22")
@pytest.mark.parametrize("seed", range(10))
def test_r20_r21_r22_a_tenth_of_100_000_checks_agrees_with_the_model(seed: int) -> None:
    chance = random.Random(seed)
    rows_max = 12 * (seed % 2)
    pair, paths = new_pair(rows_max), random_paths(chance)
    allowed = banned = 0
    for number in range(CHECKS // 10):
        if number % 3 == 0:
            change_something(pair, chance, paths)
        if number % 1_000 == 999:
            pair, paths = new_pair(rows_max), random_paths(chance)
        asked = (chance.choice(ASKING), chance.choice(PERMISSIONS), chance.choice(paths))
        assert not list(differences(pair, asked)), (seed, number, pair.model)
        allowed += pair.rights(asked[0]).allows(*asked[1:])
        banned += pair.rights(asked[0]).find_ban(asked[2]) is not None
        kept = pair.index._rights["room:leaderboards"].rows
        assert pair.index._rows == rows_of(pair) <= max(rows_max, kept)
    assert CHECKS / 10 * 0.1 < allowed < CHECKS / 10 * 0.9, "both answers were asked for often"
    assert banned > CHECKS / 10 * 0.02, "so was what a ban denies"


@pytest.mark.requirement("R20")
def test_r20_every_question_agrees_after_each_of_200_changes() -> None:
    chance = random.Random(7)
    pair, paths = new_pair(), random_paths(chance)[:8]
    for _ in range(200):
        change_something(pair, chance, paths)
        for asked in product(PRINCIPALS[:6], PERMISSIONS[:3], paths):
            assert not list(differences(pair, asked))


@pytest.mark.requirement("R22")
@pytest.mark.parametrize("seed", range(6))
def test_r22_rows_that_are_read_while_they_change_never_count(seed: int) -> None:
    """Members are read slowly, and hooks run late, while anything changes."""
    chance = random.Random(seed)
    pair, paths = new_pair(rows_max=40), random_paths(chance)
    taken = refused = 0
    for number in range(3_000):
        if chance.random() < 0.1 and pair.hooks is None:
            pair.hooks = deque()
        change_something(pair, chance, paths)
        if len(pair.reading) < 3:
            pair.begin_reading(chance.choice(MEMBERS))
        if chance.random() < 0.5:
            pair.run_hooks()
        if chance.random() < 0.3 and pair.reading:
            who = pair.reading[0][0]
            if pair.end_reading(0):
                taken += 1
                pair.run_hooks()  # before them the commit is not acknowledged
                for permission, path in product(PERMISSIONS[:3], paths[:8]):
                    assert not list(differences(pair, (who, permission, path))), (seed, number)
            else:
                refused += 1
        if pair.index._idle:
            pair.index.drop(chance.choice(list(pair.index._idle)))
    assert taken > 100, seed
    assert refused > 100, seed
    while pair.reading:
        pair.end_reading(0)
    assert pair.index._marks == {}


# --- single cases ---------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Pair:
    return new_pair()


@pytest.mark.requirement("R20")
@pytest.mark.parametrize("principal", ["", EVERYONE, "team:a", "room:ledger", "server:7"])
def test_r20_nobody_teams_and_rooms_hold_nothing_of_everyone(pair: Pair, principal: str) -> None:
    pair.bind(EVERYONE, "chief", "")
    pair.bind("team:a", "chief", "")
    assert pair.rights("ann").allows("scores:read", "")
    assert not pair.index.allows(principal, "scores:read", "")
    assert pair.rights(principal).find_ground("scores:read", "") is None


@pytest.mark.requirement("R20")
@pytest.mark.parametrize(
    ("at", "is_allowed"),
    [
        ("org/1", True),
        ("org/1/x", True),
        ("org/1/x/y", True),
        ("org/10", False),
        ("org/1.a", False),
        ("Org/1", False),
        ("org", False),
        ("", False),
    ],
)
def test_r20_binding_and_ban_cover_their_path_and_what_lies_below(
    pair: Pair,
    at: str,
    is_allowed: bool,  # noqa: FBT001 - a column of the table
) -> None:
    pair.bind("ann", "reader", "org/1")
    assert pair.rights("ann").allows("scores:read", at) is is_allowed
    pair.bind("bob", "chief", "")
    pair.ban("bob", "org/1", None)
    assert pair.rights("bob").allows("scores:read", at) is not is_allowed


@pytest.mark.requirement("R21")
def test_r21_nearest_binding_explains_and_own_comes_before_team_and_everyone(pair: Pair) -> None:
    pair.join("team:a", "ann")
    for subject, role, at in [
        ("ann", "chief", ""),
        (EVERYONE, "reader", "org"),
        (EVERYONE, "writer", "org/1"),
        (EVERYONE, "reader", "org/1"),
        ("team:a", "writer", "org/1"),
        ("ann", "writer", "org/1"),
    ]:
        pair.bind(subject, role, at)
        found = pair.rights("ann").find_ground("scores:read", "org/1/x")
        if (subject, role) != (EVERYONE, "writer"):
            assert found == Ground(subject=subject, role=role, at=at)
    assert pair.index.list_roles_with("scores:write") == ["chief", "writer"]


@pytest.mark.requirement("R20")
def test_r20_ban_ends_by_the_clock_and_no_earlier_if_it_jumps_back(pair: Pair) -> None:
    pair.bind("ann", "chief", "")
    pair.ban("ann", "", 2_000)
    seen = []
    for now_ms in (1_999, 2_000, 500, 1_999, 2_000):
        pair.model.now_ms = now_ms
        seen.append(pair.rights("ann").allows("scores:read", "org"))
    assert seen == [False, True, False, False, True]
    pair.model.now_ms = 1_000
    assert pair.rights("ann").allows("sessions:own", ""), "one's own account stays"


@pytest.mark.requirement("R20")
def test_r20_who_is_not_banned_does_not_ask_for_the_time() -> None:
    asked: list[int] = []

    def now_ms() -> int:
        asked.append(1)
        return 0

    index = BindingIndex(now_ms, 10)
    index.define("reader", {"scores:read"})
    index.insert("ann", index.begin_reading("ann"), Held(bindings=(("reader", ""),)))
    index.insert("bob", index.begin_reading("bob"), Held(bans={"": None}))
    assert index.allows("ann", "scores:read", "org/1")
    assert asked == []
    assert not index.allows("bob", "scores:read", "org/1")
    assert asked == [1]


@pytest.mark.requirement("R22")
def test_r22_index_forgets_what_was_taken_away_and_whoever_was_not_asked_for_longest() -> None:
    pair = new_pair(rows_max=1 + 2 + 2)
    pair.bind("ann", "reader", "org/1")
    pair.join("team:a", "bob")
    pair.ban("cid", "org", 5)
    assert list(pair.index._rights) == ["room:leaderboards"], "who never calls takes no room"
    for who in ("ann", "bob", "ann", "cid"):
        pair.rights(who)
    assert list(pair.index._rights) == ["room:leaderboards", "ann", "cid"]
    pair.unbind("ann", "reader", "org/1")
    pair.disband("team:a")
    pair.lift("cid", "org")
    assert pair.index._rows == 3, "who holds nothing is remembered as such"
    assert set(pair.index._shared) == {EVERYONE, SERVERS}


@pytest.mark.requirement("R22")
def test_r22_whoever_is_kept_stays_and_learns_of_every_change(pair: Pair) -> None:
    rights = pair.rights("ann")
    assert pair.index.find_rights("ann") is None, "there is no room for anybody"
    pair.index.insert("ann", pair.index.begin_reading("ann"), Held())
    assert pair.index.keep("ann")
    pair.bind("ann", "reader", "")
    pair.index.release("ann")
    for who in ("bob", "cid", "dot"):
        pair.rights(who)
    assert pair.index.allows("ann", "scores:read", "")
    assert not rights.allows("scores:read", ""), "who was kept no more learns of nothing"
    pair.index.release("ann")
    with pytest.raises(LookupError, match="ann holds is not in memory"):
        pair.index.allows("ann", "scores:read", "")


@pytest.mark.requirement("R22")
def test_r22_where_one_is_banned_counts_for_what_one_hands_out(pair: Pair) -> None:
    pair.ban("ann", "org/1/x", 2_000)
    assert pair.rights("ann").find_ban_below("org") == "org/1/x"
    assert pair.rights("ann").find_ban_below("org/10") is None
    assert pair.rights("bob").find_ban_below("org") is None
    pair.model.now_ms = 2_000
    assert pair.rights("ann").find_ban_below("org") is None
