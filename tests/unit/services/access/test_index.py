"""The index against a model that walks over all rows, and what it owes to each case."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import pytest

from moothall.action import EVERYONE
from moothall.services.access.model import Ground
from moothall.services.access.rules.index import BindingIndex
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
    """The index and the model, changed alike."""

    index: BindingIndex
    model: NaiveAccess

    def define(self, role: str, permissions: set[str]) -> None:
        self.index.define(role, permissions)
        self.model.roles[role] = permissions

    def bind(self, subject: str, role: str, path: str) -> None:
        self.index.bind(subject, role, path)
        self.model.bindings.add((subject, role, path))

    def unbind(self, subject: str, role: str, path: str) -> None:
        self.index.unbind(subject, role, path)
        self.model.bindings.discard((subject, role, path))

    def join(self, team: str, member: str) -> None:
        self.index.join(team, member)
        self.model.teams.add((team, member))

    def leave(self, team: str, member: str) -> None:
        self.index.leave(team, member)
        self.model.teams.discard((team, member))

    def disband(self, team: str) -> None:
        self.index.disband(team, sorted(who for name, who in self.model.teams if name == team))
        self.model.teams = {pair for pair in self.model.teams if pair[0] != team}
        self.model.bindings = {one for one in self.model.bindings if one[0] != team}

    def ban(self, member: str, path: str, until_ms: int | None) -> None:
        self.index.ban(member, path, until_ms)
        self.model.bans[member, path] = until_ms

    def lift(self, member: str, path: str) -> None:
        self.index.lift(member, path)
        self.model.bans.pop((member, path), None)

    def forget(self, role: str) -> None:
        for triple in [one for one in self.model.bindings if one[1] == role]:
            self.unbind(*triple)
        self.index.forget(role)
        self.define(role, set())


def new_pair() -> Pair:
    model = NaiveAccess(now_ms=1_000)
    pair = Pair(BindingIndex(lambda: model.now_ms), model)
    pair.define("reader", {"scores:read", "sessions:own"})
    pair.define("writer", {"scores:read", "scores:write"})
    pair.define("chief", {"*"})
    pair.define("made", {"ledger:transfer"})
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
    if pair.index.allows(*asked) is not expected:
        yield f"allows{asked} is not {expected}"
    grounds = pair.model.grounds(*asked)
    nearest = (
        Ground(subject=grounds[0][0], role=grounds[0][1], at=grounds[0][2]) if grounds else None
    )
    if pair.index.find_ground(*asked) != nearest:
        yield f"find_ground{asked} is not {nearest}"
    principal, _, path = asked
    if (pair.index.find_ban(principal, path) is not None) is not pair.model.is_banned(
        principal, path
    ):
        yield f"find_ban{asked}"


@pytest.mark.requirement("R20")
@pytest.mark.requirement("R21")
@pytest.mark.requirement("R22")
@pytest.mark.parametrize("seed", range(10))
def test_r20_r21_r22_a_tenth_of_100_000_checks_agrees_with_the_model(seed: int) -> None:
    chance = random.Random(seed)
    pair, paths = new_pair(), random_paths(chance)
    allowed = banned = 0
    for number in range(CHECKS // 10):
        if number % 3 == 0:
            change_something(pair, chance, paths)
        if number % 1_000 == 999:
            pair, paths = new_pair(), random_paths(chance)
        asked = (chance.choice(ASKING), chance.choice(PERMISSIONS), chance.choice(paths))
        assert not list(differences(pair, asked)), (seed, number, pair.model)
        allowed += pair.index.allows(*asked)
        banned += pair.index.find_ban(asked[0], asked[2]) is not None
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


# --- single cases ---------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Pair:
    return new_pair()


@pytest.mark.requirement("R20")
@pytest.mark.parametrize("principal", ["", EVERYONE, "team:a", "room:ledger", "server:7"])
def test_r20_nobody_teams_and_rooms_hold_nothing_of_everyone(pair: Pair, principal: str) -> None:
    pair.bind(EVERYONE, "chief", "")
    pair.bind("team:a", "chief", "")
    assert pair.index.allows("ann", "scores:read", "")
    assert not pair.index.allows(principal, "scores:read", "")
    assert pair.index.find_ground(principal, "scores:read", "") is None


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
    assert pair.index.allows("ann", "scores:read", at) is is_allowed
    pair.bind("bob", "chief", "")
    pair.ban("bob", "org/1", None)
    assert pair.index.allows("bob", "scores:read", at) is not is_allowed


@pytest.mark.requirement("R21")
def test_r21_nearest_binding_explains_and_own_comes_before_team_and_everyone(pair: Pair) -> None:
    asked = ("ann", "scores:read", "org/1/x")
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
        found = pair.index.find_ground(*asked)
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
        seen.append(pair.index.allows("ann", "scores:read", "org"))
    assert seen == [False, True, False, False, True]
    pair.model.now_ms = 1_000
    assert pair.index.allows("ann", "sessions:own", ""), "one's own account stays"


@pytest.mark.requirement("R20")
def test_r20_who_is_not_banned_does_not_ask_for_the_time() -> None:
    asked: list[int] = []

    def now_ms() -> int:
        asked.append(1)
        return 0

    index = BindingIndex(now_ms)
    index.define("reader", {"scores:read"})
    index.bind("ann", "reader", "")
    index.ban("bob", "", None)
    assert index.allows("ann", "scores:read", "org/1")
    assert asked == []
    assert not index.allows("bob", "scores:read", "org/1")
    assert asked == [1]


@pytest.mark.requirement("R22")
def test_r22_index_forgets_what_was_taken_away() -> None:
    pair = new_pair()
    before = dict(pair.index._holders)
    pair.bind("ann", "reader", "org/1")
    pair.join("team:a", "bob")
    pair.ban("cid", "org", 5)
    assert len(pair.index._holders) == 3
    pair.unbind("ann", "reader", "org/1")
    pair.disband("team:a")
    pair.lift("cid", "org")
    pair.unbind("dot", "reader", "org/1")
    assert pair.index._holders == before == {}
    assert set(pair.index._shared) == {EVERYONE, SERVERS}


@pytest.mark.requirement("R22")
def test_r22_where_one_is_banned_counts_for_what_one_hands_out(pair: Pair) -> None:
    pair.ban("ann", "org/1/x", 2_000)
    assert pair.index.find_ban_below("ann", "org") == "org/1/x"
    assert pair.index.find_ban_below("ann", "org/10") is None
    assert pair.index.find_ban_below("bob", "org") is None
    pair.model.now_ms = 2_000
    assert pair.index.find_ban_below("ann", "org") is None
