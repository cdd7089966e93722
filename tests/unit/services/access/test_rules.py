"""The index of bindings, against a model so plain that it can be believed."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from moothall.action import EVERYONE
from moothall.core.errors import InvalidArgumentError
from moothall.services.access.errors import GrantExceedsOwnError
from moothall.services.access.model import Held
from moothall.services.access.rules.granting import (
    check_grantable,
    check_permissions,
    merge_roles,
)
from moothall.services.access.rules.index import BindingIndex

ROLES = {
    "reader": {"scores:read"},
    "writer": {"scores:read", "scores:write"},
    "treasurer": {"ledger:transfer"},
    "administrator": {"*"},
    "nothing": set(),
}
SUBJECTS = ["alice", "bob", EVERYONE, "room:leaderboards"]
PRINCIPALS = ["alice", "bob", "carol", "room:leaderboards", "room:ledger"]
PERMISSIONS = ["scores:read", "scores:write", "ledger:transfer", "*", "never:heard"]
# Paths that are easily confused: a prefix of each other's text, but not of each other.
PATHS = ["", "org", "org/1", "org/10", "org/1/a", "org/1/a/b", "org/1.a", "org/1-", "orga", "o"]

Triple = tuple[str, str, str]


def covers(outer: str, inner: str) -> bool:
    above = outer.split("/") if outer else []
    return inner.split("/")[: len(above)] == above if inner else not above


def may(bindings: set[Triple], principal: str, permission: str, path: str) -> bool:
    """Look at every binding, one by one."""
    for subject, role, at in bindings:
        is_own = subject == principal
        is_common = subject == EVERYONE and not principal.startswith("room:")
        held = ROLES[role]
        if (is_own or is_common) and covers(at, path) and (permission in held or "*" in held):
            return True
    return False


def new_index() -> BindingIndex:
    """Return an index in which all who are asked about are kept."""
    index = BindingIndex(lambda: 0, 0)
    for role, permissions in ROLES.items():
        index.define(role, permissions)
    for principal in PRINCIPALS:
        index.insert(principal, index.begin_reading(principal), Held())
    return index


@pytest.mark.requirement("R20")
def test_twenty_thousand_checks_agree_with_the_model() -> None:
    chance = random.Random(20)
    index, bindings = new_index(), set[Triple]()
    allowed = 0
    for _ in range(20_000):
        triple = (chance.choice(SUBJECTS), chance.choice(list(ROLES)), chance.choice(PATHS))
        if chance.random() < 0.45 - 0.04 * len(bindings):
            index.bind(*triple)
            bindings.add(triple)
        elif chance.random() < 0.4:
            gone = chance.choice(sorted(bindings)) if bindings else triple
            index.unbind(*gone)
            bindings.discard(gone)
        asked = (chance.choice(PRINCIPALS), chance.choice(PERMISSIONS), chance.choice(PATHS))
        expected = may(bindings, *asked)
        assert index.allows(*asked) is expected, (asked, bindings)
        allowed += expected
    assert 2_000 < allowed < 18_000, "both answers were asked for often"


class Bindings(RuleBasedStateMachine):
    """Any order of binding and unbinding, looked at whole after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.index = new_index()
        self.bindings: set[Triple] = set()

    @rule(
        subject=st.sampled_from(SUBJECTS),
        role=st.sampled_from(list(ROLES)),
        path=st.sampled_from(PATHS),
    )
    def bind(self, subject: str, role: str, path: str) -> None:
        self.index.bind(subject, role, path)
        self.bindings.add((subject, role, path))

    @rule(
        subject=st.sampled_from(SUBJECTS),
        role=st.sampled_from(list(ROLES)),
        path=st.sampled_from(PATHS),
    )
    def unbind(self, subject: str, role: str, path: str) -> None:
        self.index.unbind(subject, role, path)
        self.bindings.discard((subject, role, path))

    @invariant()
    def agrees(self) -> None:
        for principal in PRINCIPALS:
            for permission in PERMISSIONS:
                for path in PATHS:
                    expected = may(self.bindings, principal, permission, path)
                    assert self.index.allows(principal, permission, path) is expected


TestBindings = pytest.mark.requirement("R20")(Bindings.TestCase)
TestBindings.settings = settings(max_examples=25, stateful_step_count=20)


@pytest.mark.requirement("R20")
def test_nothing_is_allowed_by_default() -> None:
    index = new_index()
    for principal in [*PRINCIPALS, "", EVERYONE]:
        assert not any(index.allows(principal, each, "") for each in PERMISSIONS)


@pytest.mark.requirement("R20")
def test_index_forgets_what_was_unbound() -> None:
    index = new_index()
    index.bind("alice", "reader", "org/1")
    index.bind("alice", "reader", "org/1")
    index.unbind("alice", "reader", "org/1")
    index.unbind("alice", "reader", "org/1")
    index.unbind("nobody", "reader", "org/1")
    assert not index.allows("alice", "scores:read", "org/1")
    assert index._rights["alice"].rows == 1
    assert list(index._rights) == PRINCIPALS


@pytest.mark.requirement("R22")
@given(st.sets(st.sampled_from(PERMISSIONS)), st.sets(st.sampled_from(PERMISSIONS)))
def test_nobody_grants_more_than_they_hold(own: set[str], granted: set[str]) -> None:
    may_here: Callable[[str, str], bool] = lambda permission, path: (  # noqa: E731 - one table
        path == "org/1" and permission in own
    )
    if granted <= own:
        check_grantable(may_here, lambda _at: None, granted, "org/1")
        return
    with pytest.raises(GrantExceedsOwnError) as refusal:
        check_grantable(may_here, lambda _at: None, granted, "org/1")
    assert refusal.value.details["permission"] == min(granted - own)
    assert refusal.value.details["path"] == "org/1"


@pytest.mark.requirement("R22")
@pytest.mark.parametrize(
    ("permissions", "field", "reason", "remedy"),
    [
        (
            ("scores:read", "scores:wrte"),
            "permissions[1]",
            "no action demands 'scores:wrte'",
            "did you mean scores:write, scores:read?",
        ),
        (("x:y",), "permissions[0]", "no action demands 'x:y'", "see list_roles"),
        (
            ("scores:read", "*", "scores:read"),
            "permissions[2]",
            "scores:read stands there twice",
            "leave one out",
        ),
    ],
)
def test_strange_permission_of_a_role_is_named(
    permissions: tuple[str, ...], field: str, reason: str, remedy: str
) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        check_permissions(permissions, frozenset({"scores:read", "scores:write"}))
    assert refusal.value.details == {"field": field, "reason": reason, "remedy": remedy}


@pytest.mark.requirement("R22")
def test_no_row_changes_a_built_in_role() -> None:
    merged = merge_roles({"administrator": ("*",)}, [("administrator", ("a:b",)), ("x", ("a:b",))])
    assert merged == {"administrator": ("*",), "x": ("a:b",)}
