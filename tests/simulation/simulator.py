"""One run: people, deeds, followers, jobs, time and power cuts, decided by a seed.

Each step does something to the hall; then deeds whose outcome is unknown are repeated with
their keys until it is known, and everything that was done is folded into the model in the
order in which the audit trail has it. Whatever disagrees ends the run (:class:`AssertionError`).
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random
from typing import Any, TypeVar

from moothall.action.call import Call, Reply
from moothall.core.codes import Code
from moothall.core.units import DAY_MS
from moothall.services.access.actions import digest_secret
from moothall.services.access.store import renew_claim
from moothall.testing import ManualClock
from tests.simulation import checks, recovery
from tests.simulation.deeds import Deed
from tests.simulation.followers import Follower
from tests.simulation.model import Model
from tests.simulation.plan import Planner
from tests.simulation.world import World

T = TypeVar("T")

TURNS = 12
"""Turns of the loop for which a batch is disturbed; it takes about so many."""

ATTEMPTS_MAX = 8
"""Attempts after which a deed must have an outcome."""

JOBS = (
    "access.seal_audit", "access.publish_head", "action.sweep_replies", "feeds.sweep_events",
    "files.collect_files", "identity.sweep_sessions", "identity.end_idle_sessions",
    "identity.rotate_due_keys", "identity.retire_keys", "identity.sweep_registration",
    "leaderboards.rebuild_rankings", "leaderboards.erase_removed_boards",
    "leaderboards.erase_unused_rankings", "leaderboards.release_orphaned_proofs",
)  # fmt: skip
PASSWORD = "the administrator's own password"
CLAIM = "the secret of a fresh hall"


@dataclass
class Run:
    """What became of a run."""

    seed: int
    steps: int
    digest: str = ""
    """Of the trace; the same for the same seed and steps."""
    trace: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


class Simulator:
    """Drives one run."""

    def __init__(
        self, world: World, clock: ManualClock, run: Run, logs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Prepare; :meth:`play` does the rest.

        Args:
            world: Where the hall lives.
            clock: Of the hall.
            run: Says the seed and how many steps, and takes the trace.
            logs: What the hall logs.
        """
        seed = run.seed
        self.chance = Random(f"simulator {seed}")
        self.clock = clock
        self.world = world
        self.model = Model(has_nodes=world.engine == "postgres")
        self.plan = Planner(self.model, clock, seed)
        self.followers: list[Follower] = []
        self.deeds: list[Deed] = []
        """Those that were done under a key, for repeating them later."""
        self.audit_seen = 0
        self._run = run
        self._logs = logs
        self._logs_seen = 0
        self._faults: list[str] = []
        """What went wrong in the loop, where nobody waits for it."""
        self._attempts = 0
        self._lines = 0
        self._steps: list[tuple[int, Callable[[], Coroutine[Any, Any, None]]]] = [
            (50, self._batch), (14, self._alone), (8, self._repeat), (8, self._time),
            (10, self._job), (26, self._follow), (2, self._restart), (3, self._remove_member),
            (6, self.check), (2, self._jump),
        ]  # fmt: skip

    # --- the run ------------------------------------------------------------------------------

    async def play(self) -> None:
        """Begin a hall, take the steps, and look at everything in the end."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, found: self._faults.append(str(found)))
        await self.world.open()
        try:
            await self._begin()
            for number in range(self._run.steps):
                kinds = [kind for _, kind in self._steps]
                [step] = self.chance.choices(kinds, [weight for weight, _ in self._steps])
                self.tell(f"step {number}: {step.__name__.strip('_')}")
                await step()
                await self._survive()
                self._check_logs()
            self.tell("the end")
            await checks.check_end(self)
            self._check_logs()
            for what, number in sorted(self.world.faults.items()):
                self.count(what, number)
        finally:
            for follower in self.followers:
                follower.lose()
            await self.world.close()

    def tell(self, line: str) -> None:
        """Write a line of the trace."""
        self._run.trace.append(line)

    def _check_logs(self) -> None:
        """See that nothing went wrong where nobody waits for it."""
        fresh, self._logs_seen = self._logs[self._logs_seen :], len(self._logs)
        errors = [one for one in fresh if one["log_level"] in {"error", "critical"}]
        errors = [one for one in errors if one.get("error") != self.world.told_of_death]
        assert errors == [], errors
        assert self._faults == [], self._faults

    def count(self, what: str, number: int = 1) -> None:
        """Count what happened, so that a run that does nothing is seen."""
        self._run.counts[what] = self._run.counts.get(what, 0) + number

    async def _begin(self) -> None:
        """Let the first administrator and some members in."""
        hall = self.world.hall
        boss = self.plan.nobodys("identity.register", name="boss", password=PASSWORD)
        await self.settle([boss])
        self.plan.boss = next(iter(self.model.people))
        await self.sign_in(self.plan.boss)
        now_ms = self.clock.now_ms()
        await hall.hall.database.write(lambda tx: renew_claim(tx, digest_secret(CLAIM), now_ms))
        await self.settle([self._of_boss("access.claim_administration", secret=CLAIM)])
        for role in await checks.list_roles(self):
            self.model.access.roles[role["name"]] = set(role["permissions"])
        self.model.access.bindings |= {
            ("everyone", "member", ""),
            (self.plan.boss, "administrator", ""),
        }
        for _ in range(3):
            deed = self.plan.register()
            assert deed is not None
            await self.settle([deed])
        for person in self.model.living():
            await self.sign_in(person.member_id)

    def _of_boss(self, action: str, **request: Any) -> Deed:
        deed = self.plan.deed(self.plan.boss, action, **request)
        assert deed is not None, "the administrator is signed in"
        deed.deadline_ms = None
        return deed

    async def sign_in(self, member_id: str) -> None:
        """See to it that a member has a session with a fresh token."""
        if self.plan.session_of(member_id) is None:
            sessions = self.model.open_sessions(member_id)
            if len(sessions) > 2:
                deed = self.plan.refresh(next(one for one in sessions if one.refresh_token))
            else:
                deed = self.plan.sign_in(self.model.people[member_id])
            await self.settle([deed])

    async def _rise(self) -> None:
        """Begin anew what died; its connections are lost."""
        self.tell("what died begins anew")
        self.count("deaths")
        for follower in self.followers:
            if follower.line is not None and follower.line.life.is_dead:
                follower.lose()
        await self.world.rise()
        await checks.check_database(self)

    # --- steps --------------------------------------------------------------------------------

    async def _batch(self) -> None:
        """Let several people act at the same time, and disturb them."""
        count = self.chance.choice((*range(1, 8), 16))
        deeds = [self.plan.think() for _ in range(count)]
        keyed = [deed for deed in deeds if deed.key is not None]
        if keyed and self.chance.random() < 0.3:
            deeds.append(self.chance.choice(keyed))  # the same call twice at the same time
        is_threatened = await self._threaten(0.15)
        callers = [asyncio.ensure_future(self._attempt(deed)) for deed in deeds]
        tasks = [
            *callers,
            *(asyncio.ensure_future(self.run_job(job)) for job in self._some(JOBS)),
            *(asyncio.ensure_future(self.connect(one)) for one in self._some(self.followers, 3)),
        ]
        await self._disturb(callers)
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        if is_threatened and self.chance.random() < 0.5:
            await self.world.strike()
        await self._survive()
        await self.settle(deeds)
        await self.look_at_rebuilds()

    def _some(self, values: Sequence[T], count_max: int = 1) -> list[T]:
        """Return some of ``values``, or none."""
        count = self.chance.randint(0, count_max)
        return self.chance.sample(values, min(count, len(values)))

    async def _threaten(self, probability: float) -> bool:
        """Let a fault happen in what comes next, or mostly not."""
        if self.chance.random() >= probability:
            return False
        self.tell(await self.world.threaten(self.chance))
        return True

    async def _disturb(self, callers: "Sequence[asyncio.Future[None]]") -> None:
        """Let some moments go by, in which callers leave and time passes."""
        at_turn = self.chance.randrange(TURNS)
        for turn in range(TURNS):
            await self.world.pass_turn(may_strike=turn == at_turn)
            if self.chance.random() < 0.03 and self.chance.choice(callers).cancel():
                self.count("callers lost")
            if self.chance.random() < 0.02:
                self.clock.advance(10)

    async def _survive(self) -> None:
        """End the danger; begin anew what died of it."""
        await self.world.calm()
        if self.world.has_died:
            await self._rise()

    async def _alone(self) -> None:
        """Let one person act, with nobody beside, and see that a refusal changed nothing."""
        deed = self.plan.think()
        deed.deadline_ms = None
        before = await checks.digest_tables(self)
        await self._attempt(deed)
        if deed.refusal is not None and not deed.action.startswith("identity."):
            after = await checks.digest_tables(self)
            changed = [table for table, digest in after.items() if digest != before[table]]
            assert changed == [], f"{deed} was refused and changed {changed}"
            self.count("refusals that changed nothing")
            checks.check_refusal(self, deed)
        await self.settle([deed])

    async def _repeat(self) -> None:
        """Repeat an old deed under its key, or use its key for another request."""
        if self.deeds:
            await self.repeat(self.chance.choice(self.deeds[-60:]), may_differ=True)

    async def repeat(self, old: Deed, *, may_differ: bool = False) -> None:
        """Repeat a deed under its key, if its member can; or use the key for another request."""
        session = self.plan.session_of(old.actor)
        if session is None or old.done_at_ms <= self.clock.now_ms() - DAY_MS:
            return
        request = dict(old.request)
        is_other = may_differ and bool(request) and self.chance.random() < 0.3
        if is_other:
            name = min(request)
            request[name] = f"{request[name]}x" if isinstance(request[name], str) else 7
        again = Deed(old.number, old.actor, old.action, request, old.key, session.access_token)
        again.session_id = session.session_id
        await self._attempt(again)
        await recovery.check_repeat(self, old, again, is_other=is_other)

    async def _time(self) -> None:
        """Let time pass."""
        milliseconds = self.chance.choice((1, 50, 1_000, 20_000, 70_000, 400_000, 3_700_000))
        self.clock.advance(milliseconds)
        self.tell(f"{milliseconds} ms pass")
        self._look_after_connections()
        for person in self.model.living():
            if self.chance.random() < 0.7:
                await self.sign_in(person.member_id)

    async def _jump(self) -> None:
        """Set the clock on the wall, which everybody's client takes note of by signing in anew."""
        by_ms = self.chance.choice((-3_600_000, -60_000, 60_000, 3_600_000))
        self.clock.set_wall(self.clock.now_ms() + by_ms)
        self.tell(f"the clock jumps by {by_ms} ms")
        for session in self.model.sessions.values():
            session.access_token = ""
        self._look_after_connections()

    async def _job(self) -> None:
        """Keep house."""
        if self.chance.random() < 0.3:
            await self._begin_due_seasons()
        else:
            await self.run_job(self.chance.choice(JOBS))
        await self.look_at_rebuilds()

    async def _follow(self) -> None:
        """Let followers come, go, read, and fall behind."""
        if len(self.followers) < 10 and self.chance.random() < 0.8:
            self._add_follower()
        for follower in self.chance.sample(self.followers, min(5, len(self.followers))):
            await self._move(follower)
        if self.chance.random() < 0.2:
            self._look_after_connections()

    def _look_after_connections(self) -> None:
        for hall in self.world.halls:
            hall.look_after_connections()

    async def _move(self, follower: Follower) -> None:
        """Do one thing of a follower."""
        chance = self.chance.random()
        if follower.line is None or chance < 0.06:
            await self.connect(follower)
        elif chance < 0.22:
            follower.read(self.chance.randint(0, 5))  # what comes late is still read
            follower.lose()
        elif chance < 0.27:
            follower.is_lazy = not follower.is_lazy
        elif chance < 0.88:
            follower.read(0 if follower.is_lazy else self.chance.choice((1, 3, 10)))
        else:
            await follower.acknowledge()

    async def connect(self, follower: Follower) -> None:
        """Connect a follower, if its member can sign in."""
        if self.model.people[follower.member_id].is_removed:
            return
        session = self.plan.session_of(follower.member_id)
        if session is None:
            return
        self._lines += 1
        by_device = self.chance.random() < 0.3
        await follower.connect(
            self.world.choose(), self._lines, session.access_token, by_device=by_device
        )
        self.tell(f"{follower} connects: {'live' if follower.is_live else 'not'}")

    def _add_follower(self) -> None:
        """Let a member follow a feed."""
        board = self.plan.board()
        kinds = ["access", "identity", "own-entries"]
        if board is not None:
            at = f"board/{board.board_id}"
            kinds += [at, at, f"{at}/moderation"]
        feed, member_id = self.chance.choice(kinds), self.plan.anybody()
        if not any((one.feed, one.member_id) == (feed, member_id) for one in self.followers):
            self.followers.append(Follower(member_id, feed, self.world.pause_seconds))

    async def _restart(self) -> None:
        """Stop a process in good order and start it again; sometimes a fault comes meanwhile."""
        life = self.world.choose()
        for follower in self.followers:
            if follower.line is not None and follower.line.life is life:
                follower.lose()
        await self.world.restart(life, self.chance)
        await checks.check_database(self)

    async def _remove_member(self) -> None:
        """Remove a member, and wait until nothing is left that goes."""
        who = self.plan.somebody()
        if who.member_id == self.plan.boss or len(self.model.living()) < 4:
            return
        await self.sign_in(self.plan.boss)
        self.tell(f"{who.name} is removed")
        await self.look_at_rebuilds(finish=True)
        deed = self._of_boss("identity.remove_member", member=who.name)
        await self._threaten(0.3)
        await self.settle([deed])
        assert deed.done is not None or deed.refusal == "member_not_found", deed.refusal
        self.clock.advance(70_000)
        await self._run_through("identity.finish_removals")
        self.model.remove_member(who.member_id)
        self.followers = [one for one in self.followers if one.member_id != who.member_id]

    async def _begin_due_seasons(self) -> None:
        """Run the job that begins seasons, and fold in what it did."""
        now_ms = self.clock.now_ms()
        due = [
            one
            for one in self.model.boards.values()
            if one.next_reset_at_ms is not None and one.next_reset_at_ms <= now_ms
        ]
        await self.look_at_rebuilds(finish=True)
        await self._run_through("leaderboards.start_due_seasons")
        for board in due:
            self.model.begin_season(board)
        await checks.check_schedules(self)

    async def look_at_rebuilds(self, *, finish: bool = False) -> None:
        """Learn which rankings were built anew meanwhile."""
        if finish:
            await self._run_through("leaderboards.rebuild_rankings")
        await checks.follow_rebuilds(self)

    async def _run_through(self, name: str) -> None:
        """Run a job to its end, also if a fault cuts it short."""
        await self._threaten(0.15)
        while not await self.run_job(name):
            await self._survive()
        await self.world.calm()

    async def run_job(self, name: str) -> bool:
        """Run a job once; False if a fault cut it short."""
        self.tell(f"job {name}")
        return await self.world.run_job(name)

    async def check(self) -> None:
        """Hold the hall against the model."""
        await self.world.catch_up()
        await self.sign_in(self.plan.boss)
        await checks.check_all(self)

    # --- deeds --------------------------------------------------------------------------------

    async def _attempt(self, deed: Deed) -> None:
        """Call once."""
        self._attempts += 1
        number = self._attempts
        source = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        deed.sources.append(source)
        call = Call(deed.action, deed.body, source, deed.token, deed.key, deed.deadline_ms)
        heard: Reply | None = None
        try:
            heard = await self.world.answer(call)
        finally:
            self._tell_attempt(deed, source, heard)
        if heard is not None:
            assert heard.problem is None or heard.problem.code is not Code.INTERNAL, (
                f"{deed}: {heard.problem}"
            )
            deed.replies.append(heard)

    def _tell_attempt(self, deed: Deed, source: str, heard: Reply | None) -> None:
        if heard is None:
            outcome = "nobody heard"
        elif heard.problem is not None:
            outcome = heard.problem.name
        else:
            outcome = blake2b(heard.body or b"", digest_size=6).hexdigest()
        self.tell(f"{deed} from {source}: {outcome}")

    async def settle(self, deeds: Iterable[Deed]) -> None:
        """Repeat what has no outcome until it has one, then fold in what was done."""
        once = list(dict.fromkeys(deeds))
        await self.world.quiet()
        for deed in once:
            if deed.sources:
                await recovery.recover(self, deed)
            for _ in range(ATTEMPTS_MAX):
                if deed.sources and not deed.is_open:
                    break
                deed.deadline_ms = None
                await self._attempt(deed)
                await self._survive()
                await self.world.quiet()
                await recovery.recover(self, deed)
            assert not deed.is_open, f"{deed} has no outcome: {deed.replies}"
        await recovery.follow_audit(self, once)
        for deed in sorted(once, key=lambda one: one.audit or 0):
            self.count("done" if deed.done is not None else "refused")
            if deed.done is not None:
                deed.done_at_ms = self.clock.now_ms()
                self.model.fold(deed)
                if deed.key is not None and deed.audit is not None:
                    self.deeds.append(deed)
