"""How the index of bindings learns what another node of the hall has changed.

Every change in memory goes through ``StoredBindings.change``, which leaves a notice for each key
that it touches. A node that finds notices reads the rows that they name, those of a round on one
snapshot, and puts them in the place of what it remembered in one step: nobody holds too little
or too much in between.

- Who is not kept in memory is dropped, and read when they call.
- Who is being read just now is read again: their rows may be older than the notice.
- What a commit of this node changes while it is read is read again too. A mark tells
  (``BindingIndex.begin_reading``).
- A commit of this node may be read, with what another node did after it, before its own hook has
  run. Whether it was, nobody can tell; a job reads again what such a hook changed.

Whoever edits it: notices of one round are of no order, and several changes of one thing may have
become one. So a notice says what to read, never what was done.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from moothall.action import EVERYONE
from moothall.core.errors import OverloadedError
from moothall.core.paths import ROOT
from moothall.ports.database import Database, Transaction
from moothall.services.access.adapters.bindings import MEMBER_ROLE, READS_MAX, StoredBindings
from moothall.services.access.model import Held
from moothall.services.access.rules.changed import TOPIC, Changed
from moothall.services.access.rules.index import is_member, is_shared, role_mark
from moothall.services.access.store import bindings, roles
from moothall.services.access.store.held import list_held


@dataclass(slots=True)
class _Wanted:
    """What is to be read.

    Attributes:
        roles: Names.
        shared: Teams (``team:<slug>``) and everyone.
        members: Ids, of members who are in memory.
        is_all: Whether also roles and shared subjects are read that nobody knows here.
    """

    roles: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    is_all: bool = False

    def __bool__(self) -> bool:
        return bool(self.roles or self.shared or self.members or self.is_all)

    def marks(self) -> list[str]:
        """Return under what each is read."""
        return [*map(role_mark, self.roles), *self.shared, *self.members]


@dataclass(frozen=True, slots=True)
class _Found:
    """The rows, on one snapshot."""

    roles: Mapping[str, tuple[str, ...]]
    bound: Mapping[str, list[tuple[str, str]]]
    held: Mapping[str, Held]


class BindingLearner:
    """Implements Learner for the index of bindings."""

    topic = TOPIC

    def __init__(self, index: StoredBindings) -> None:
        """Keep ``index`` up to date."""
        self._index = index
        self._database: Database | None = None

    async def relearn(self, database: Database, keys: Sequence[str]) -> None:
        """Read anew what the keys name; without any, all that is remembered.

        Raises:
            StorageUnavailableError: The rows cannot be read.
            OverloadedError: They change faster than they can be read.
        """
        self._database = database
        wanted = self._want(keys) if keys else self._want_all()
        for _ in range(READS_MAX):
            if not wanted:
                return
            wanted = await self._read(database, wanted)
        raise OverloadedError("what members hold changes too fast to be read", retry_after_ms=100)

    async def confirm(self) -> None:
        """Read again what a hook changed after its commit may have been learned.

        Raises:
            StorageUnavailableError: The rows cannot be read.
            OverloadedError: They change faster than they can be read.
        """
        doubtful = self._index.doubtful
        if self._database is None or not doubtful:
            return
        self._index.doubtful = set()
        try:
            await self.relearn(self._database, sorted(doubtful))
        except BaseException:
            self._index.doubtful |= doubtful
            raise

    def _want_all(self) -> _Wanted:
        """Return all that this node knows; who is not kept is dropped."""
        wanted = _Wanted(is_all=True)
        wanted.roles.update(self._index.list_defined())
        wanted.shared.update(self._index.list_shared())
        self._want_subjects(wanted, self._index.list_remembered())
        self._index.forget_reading()
        return wanted

    def _want(self, keys: Iterable[str]) -> _Wanted:
        """Return what the keys mean here; who is not kept is dropped."""
        index, wanted = self._index, _Wanted()
        for key in keys:
            kind, _, name = key.partition(" ")
            if kind == Changed.SUBJECT:
                self._want_subjects(wanted, [name])
                index.forget_reading(name)
            elif kind == Changed.ROLE:
                wanted.roles.add(name)
            else:
                if kind == Changed.ROLE_GONE:
                    wanted.roles.add(name)
                    subjects = index.list_holders(name)
                elif kind == Changed.TEAM_GONE:
                    subjects = [name, *index.list_members_of(name)]
                else:
                    subjects = index.list_held_at(name)
                self._want_subjects(wanted, subjects)
                index.forget_reading()  # what they hold of it, nobody here can know yet
        return wanted

    def _want_subjects(self, wanted: _Wanted, subjects: Iterable[str]) -> None:
        """Add those who are in memory for a reason, and drop the others."""
        for subject in subjects:
            if is_shared(subject):
                wanted.shared.add(subject)
            elif self._index.is_kept(subject):
                wanted.members.add(subject)
            elif is_member(subject) and self._index.find_rights(subject) is not None:
                self._index.drop(subject)

    async def _read(self, database: Database, wanted: _Wanted) -> _Wanted:
        """Read it and put it in its place, in one step; return what changed meanwhile."""
        index, again = self._index, _Wanted()
        marks = {what: index.begin_reading(what) for what in wanted.marks()}
        try:
            found = await database.read(lambda tx: _load(tx, wanted))
            index.reads += 1
            gone = self._take_roles(wanted, found, marks, again)
            self._take_members(wanted, found, marks, again)
            self._take_shared(wanted, found, marks, again)
            for role in gone:  # last, because nobody holds them any more
                index.forget(role)
        finally:
            for what, mark in marks.items():
                index.end_reading(what, mark)
        return again

    def _take_roles(
        self, wanted: _Wanted, found: _Found, marks: Mapping[str, object], again: _Wanted
    ) -> list[str]:
        """Define the roles that were read; return those that are no more."""
        gone = []
        for role in {*wanted.roles, *found.roles} - self._index.built_in.keys():
            if not self._is_fresh(role_mark(role), marks, is_known=self._index.knows_role(role)):
                again.roles.add(role)
            elif role in found.roles:
                self._index.define(role, found.roles[role])
            else:
                gone.append(role)
        return gone

    def _take_members(
        self, wanted: _Wanted, found: _Found, marks: Mapping[str, object], again: _Wanted
    ) -> None:
        """Replace what members hold."""
        for member_id in wanted.members:
            if self._index.find_rights(member_id) is None:
                continue  # dropped meanwhile: they are read when they call
            if self._is_fresh(member_id, marks, is_known=True):
                self._index.replace(member_id, found.held[member_id])
            else:
                again.members.add(member_id)

    def _take_shared(
        self, wanted: _Wanted, found: _Found, marks: Mapping[str, object], again: _Wanted
    ) -> None:
        """Replace what is bound to teams and to everyone."""
        known = set(self._index.list_shared())
        for subject in {*wanted.shared, *found.bound}:
            if self._is_fresh(subject, marks, is_known=subject in known):
                own = [(MEMBER_ROLE, ROOT)] if subject == EVERYONE else []
                self._index.replace_bound(subject, own + found.bound.get(subject, []))
            else:
                again.shared.add(subject)

    def _is_fresh(self, what: str, marks: Mapping[str, object], *, is_known: bool) -> bool:
        """Tell whether nothing changed what was read; without a mark, it was not known before."""
        return self._index.is_unchanged(what, marks[what]) if what in marks else not is_known


async def _load(tx: Transaction, wanted: _Wanted) -> _Found:
    """Read rows on one snapshot."""
    if wanted.is_all:
        defined = {name: held for name, held, _ in await roles.list_roles(tx)}
        rows = await bindings.list_shared_bindings(tx)
    else:
        defined = await roles.list_permissions(tx, sorted(wanted.roles))
        rows = await bindings.list_bound(tx, sorted(wanted.shared))
    bound: dict[str, list[tuple[str, str]]] = {}
    for subject, role, path in rows:
        bound.setdefault(subject, []).append((role, path))
    return _Found(defined, bound, await list_held(tx, sorted(wanted.members)))
