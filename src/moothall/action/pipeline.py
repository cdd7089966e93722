"""The road of a call: every call, from every door, comes by here.

Reading :meth:`Pipeline._pass`, :meth:`Pipeline._deed` and :meth:`House.authorize` is reading
the security of the house. The order of the steps is a promise (R23): find the action, limit of
the source, form, who, limit of the member, resource, may they, remembered reply, the deed,
commit. Raising rolls back, returning commits.

- A door that can let a client wait charges the source before (:meth:`Pipeline.charge_source`).
- After *limit of the member* the idempotency key is looked at; a member who is new on a
  resource server is written down, in a commit of its own; and what the member holds is read,
  if it is not in memory, where it stays until the call has ended.
- Who may not, because what the call is about was removed, is still told the remembered reply
  of the call that removed it.

Whoever edits this file: nothing here may depend on a door or on a room, and every
step added is paid by every call.
"""

import asyncio
from typing import Any

import msgspec
import structlog

from moothall.action import idempotency
from moothall.action.access import Public
from moothall.action.call import KEY_LENGTH_MAX, Call, Reply, is_idempotency_key
from moothall.action.context import Context
from moothall.action.declare import Action, Effect
from moothall.action.house import House
from moothall.action.limiter import Limiter, PerSource, Rate
from moothall.action.model import Request
from moothall.action.tail import Tail
from moothall.action.tally import CallTally
from moothall.action.token import Claims, TokenVerifier
from moothall.core.addresses import network_of
from moothall.core.codes import Code
from moothall.core.errors import (
    ActionError,
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    OverloadedError,
    PermissionDeniedError,
    Problem,
    RateLimitedError,
    StorageUnavailableError,
    UnauthenticatedError,
    UnknownActionError,
)
from moothall.core.ids import ENTROPY_BYTES
from moothall.ports.activity import Activity
from moothall.ports.arrivals import Arrivals
from moothall.ports.audit import AuditRow
from moothall.ports.database import Transaction

SOURCE_RATE = PerSource(calls=1_000, window_ms=1_000)
"""What one client address may call in all."""

BURST_SECONDS = 0.02
"""How much of that may begin at once at a door; the rest one after the other."""

DELAY_SECONDS_MAX = 1.0
"""How long a call may wait for its turn, because its source has called so often."""

FLOW_SECONDS_MAX = 30.0
"""How long a FLOW may take when the caller sets no deadline."""

ARRIVAL = "action.arrive"
"""Under which name the audit trail tells that a member came here first, or by a new name."""

_encode = msgspec.json.encode
_NOBODY = Claims("", "", 0, 0.0, "")
_log = structlog.get_logger("moothall.pipeline")


class Visit(msgspec.Struct, frozen=True, gc=False):
    """One call on its way, once its form and its sender are known."""

    call: Call
    action: Action[Any, Any]
    request: Request
    claims: Claims
    request_id: str


class Pipeline:
    """Answers calls. Never raises: what goes wrong is a problem in the reply."""

    def __init__(
        self,
        house: House,
        verifier: TokenVerifier,
        *,
        limits_scale: float = 1.0,
        source_rate: PerSource = SOURCE_RATE,
    ) -> None:
        """Serve ``house``; every limit is multiplied by ``limits_scale``."""
        self._house = house
        self._verifier = verifier
        self._limiter = Limiter(house.clock, scale=limits_scale)
        self.tally = CallTally(house.catalog.actions.values())
        self._source_rate = source_rate
        self._activity = house.find_port(Activity)
        self._arrivals = house.find_port(Arrivals)
        self._tail = house.find_port(Tail)
        self._reply_clock = house.use(idempotency.ReplyClock)
        # A number per call under a random prefix per process: unique without randomness
        # per call, and it tells nothing but how many calls there were.
        self._request_prefix = house.entropy.random_bytes(ENTROPY_BYTES).hex()[:10]
        self._request_count = 0

    def make_request_id(self) -> str:
        """Return a name for a request that no other request has."""
        self._request_count += 1
        return f"{self._request_prefix}{self._request_count:x}"

    def charge_source(self, source: str) -> float:
        """Charge a source for one call, and return in how many seconds it may begin.

        A door that can let a client wait asks before it takes a call up, and says so in the
        call. Refusing a flood call by call would cost nearly as much as answering it, and
        answering all that is allowed at once would keep everybody else waiting (R35).

        Raises:
            RateLimitedError: It would have to wait for more than a second.
        """
        try:
            return self._limiter.reserve(
                network_of(source),
                self._source_rate,
                burst_seconds=BURST_SECONDS,
                delay_seconds_max=DELAY_SECONDS_MAX,
            )
        except RateLimitedError:
            self.tally.refusals["source"] += 1
            raise

    async def answer(self, call: Call) -> Reply:
        """Carry out ``call`` and return the result or the problem."""
        request_id = self.make_request_id()
        monotonic = self._house.clock.monotonic
        begun = monotonic()
        try:
            reply = Reply(request_id, body=await self._pass(call, request_id))
        except ActionError as error:
            if error.code is Code.INTERNAL:
                reply = Reply(request_id, problem=self._fault(call, request_id, error))
            else:
                reply = Reply(request_id, problem=error.problem(request_id))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a bug answers `internal`, no more
            reply = Reply(request_id, problem=self._fault(call, request_id, error))
        self.tally.count(call.action, reply.problem, monotonic() - begun)
        return reply

    async def _pass(self, call: Call, request_id: str) -> bytes:
        """Take ``call`` through the checks that need no transaction, then to its deed."""
        action = self._house.catalog.actions.get(call.action)
        self._limit_source(call, action)
        if action is None:
            raise self._unknown(call.action)
        request = action.decode(call.body)
        claims = self._authenticate(call, action)
        self._limit_actor(action, claims)
        self._check_key(call, action)
        if self._arrivals is not None and claims.member_id:
            await self._welcome(self._arrivals, call, claims, request_id)
        visit = Visit(call, action, request, claims, request_id)
        authority, member_id = self._house.authority, claims.member_id
        if member_id and not authority.keep(member_id):
            await authority.admit(self._house.database, member_id)
        try:
            if action.effect is Effect.WRITE:
                reply = await self._write(visit)
            elif action.effect is Effect.READ:
                reply = await self._read(visit)
            else:
                reply = await self._flow(visit)
        finally:
            if member_id:
                authority.release(member_id)
        if action.is_activity and self._activity is not None and claims.session_id:
            self._activity.touch(claims.session_id)
        return reply

    def _limit_source(self, call: Call, action: Action[Any, Any] | None) -> None:
        """Charge the address; unknown actions are charged too."""
        source = network_of(call.source)
        if not call.is_charged:
            self._spend("source", source, self._source_rate)
        if action is not None and isinstance(action.limit, PerSource):
            self._spend("action", (action.name, source), action.limit)

    def _authenticate(self, call: Call, action: Action[Any, Any]) -> Claims:
        """Return who calls. A PUBLIC action looks at no token, good or bad."""
        if isinstance(action.access, Public):
            return _NOBODY
        if call.token is None:
            raise UnauthenticatedError(
                "the call carries no access token",
                remedy="sign in (identity.open_session), and send the token that it gives",
            )
        return self._verifier.verify(call.token)

    def _limit_actor(self, action: Action[Any, Any], claims: Claims) -> None:
        """Charge the member."""
        if not isinstance(action.limit, PerSource):
            self._spend("member", (action.name, claims.member_id), action.limit)

    def _spend(self, limit: str, key: object, rate: Rate) -> None:
        """Use one call of ``rate``, and count a refusal as one of ``limit``."""
        try:
            self._limiter.spend(key, rate)
        except RateLimitedError:
            self.tally.refusals[limit] += 1
            raise

    async def _welcome(
        self, arrivals: Arrivals, call: Call, claims: Claims, request_id: str
    ) -> None:
        """Write a member down who is new on this resource server, before their call's deed."""
        member_id, name, expires_at_s = claims.member_id, claims.name, claims.expires_at
        if arrivals.knows(member_id, name, expires_at_s):
            return
        now_ms = self._house.clock.now_ms()
        row = AuditRow(
            now_ms, member_id, ARRIVAL, f"member/{member_id}", "done", call.source, request_id
        )

        async def work(tx: Transaction) -> None:
            if await arrivals.welcome(tx, member_id, name, expires_at_s, now_ms):
                await self._house.audit.append(tx, row)

        await self._house.database.write(work)

    @staticmethod
    def _check_key(call: Call, action: Action[Any, Any]) -> None:
        """Refuse a key that would not protect, rather than let its sender believe it does."""
        key = call.idempotency_key
        if key is None:
            return
        if action.effect is not Effect.WRITE or isinstance(action.access, Public):
            raise InvalidArgumentError(
                "idempotency_key",
                f"{action.name} takes no idempotency key",
                "leave it out; only WRITE actions of signed-in members take one",
            )
        if not is_idempotency_key(key):
            raise InvalidArgumentError(
                "idempotency_key",
                f"a key is 1 to {KEY_LENGTH_MAX} visible ASCII characters",
                "take a random one, such as a UUID",
            )

    async def _write(self, visit: Visit) -> bytes:
        """Carry out a WRITE; the reply leaves only after the commit that covers it."""
        ctx: Context | None = None
        deadline = self._deadline(visit.call)

        async def work(tx: Transaction) -> bytes:
            nonlocal ctx
            self._check_deadline(deadline)
            self._verifier.check_session(visit.claims)  # it may have ended while the call waited
            ctx = self._context(visit, tx)
            return await self._deed(ctx, visit)

        try:
            return await self._house.database.write(work, lane=visit.action.lane_of(visit.request))
        except ActionError as error:
            known = await self._find_twin(visit, error)
            if known is not None:
                return known
            if ctx is not None:
                await self._audit_refusal(ctx, error)
            raise

    async def _find_twin(self, visit: Visit, error: ActionError) -> bytes | None:
        """Return the reply to the same call, which was carried out while this one was refused.

        With several nodes both may run at once, and what one of them did may be why the other
        was refused. Who may not do it any more learns nothing.
        """
        key = visit.call.idempotency_key
        is_forbidden = error.code in {Code.PERMISSION_DENIED, Code.UNAUTHENTICATED}
        if key is None or self._tail is None or is_forbidden:
            return None
        scope, digest = self._scope(visit, key)
        now_ms = self._reply_clock.now_ms()
        try:
            return await self._house.database.read(
                lambda tx: idempotency.find_reply(tx, scope, digest, now_ms)
            )
        except (StorageUnavailableError, OverloadedError, DeadlineExceededError):
            return None  # the first refusal is the one to tell

    @staticmethod
    def _scope(visit: Visit, key: str) -> tuple[idempotency.Scope, str]:
        """Return under what a reply is remembered, and the digest of the request."""
        scope = idempotency.Scope(visit.claims.member_id, visit.action.name, key)
        # Sorted, so that two spellings of one request are one request.
        return scope, idempotency.digest_of(_encode(visit.request, order="deterministic"))

    def _deadline(self, call: Call) -> float | None:
        """Return until when the caller waits, on the steady clock; None for as long as it takes."""
        if call.deadline_ms is None:
            return None
        return self._house.clock.monotonic() + call.deadline_ms / 1_000

    def _check_deadline(self, deadline: float | None) -> None:
        """Refuse to begin what nobody waits for any more."""
        if deadline is not None and self._house.clock.monotonic() > deadline:
            raise DeadlineExceededError("the time was up before the call began; nothing was done")

    async def _deed(self, ctx: Context, visit: Visit) -> bytes:
        """Do what a WRITE asks for, inside its transaction; its events come last of all.

        Their streams' rows are held until the commit, and others wait for them.
        """
        reply = await self._do(ctx, visit)
        if ctx.events:
            await self._house.outbox.write(ctx.tx, ctx.events, ctx.now_ms)
        return reply

    async def _do(self, ctx: Context, visit: Visit) -> bytes:
        """Authorize a WRITE, and run it, or return what was replied to the same call before."""
        house, action, tx = self._house, visit.action, ctx.tx
        key, refusal = visit.call.idempotency_key, None
        try:
            await house.authorize(ctx, visit.request)
        except PermissionDeniedError as error:
            # What an earlier call under this key removed cannot be found again; its reply can.
            if key is None or not ctx.resource_is_missing:
                raise
            refusal = error
        if key is None:
            return await self._run(ctx, visit)
        scope, digest = self._scope(visit, key)
        now_ms = self._reply_clock.now_ms()
        known = await idempotency.find_reply(tx, scope, digest, now_ms)
        if known is not None:
            return known
        if refusal is not None:
            raise refusal
        reply = await self._run(ctx, visit)
        kept = None if action.secret_reply else reply
        await idempotency.remember_reply(tx, scope, digest, kept, now_ms)
        return reply

    async def _run(self, ctx: Context, visit: Visit) -> bytes:
        """Run the handler of a WRITE, then write its audit row."""
        reply = await self._handle(ctx, visit.request)
        await self._house.audit.append(ctx.tx, ctx.audit_row("done"))
        return reply

    async def _read(self, visit: Visit) -> bytes:
        """Carry out a READ on a snapshot."""
        ctx: Context | None = None
        deadline = self._deadline(visit.call)

        async def work(tx: Transaction) -> bytes:
            nonlocal ctx
            self._check_deadline(deadline)
            ctx = self._context(visit, tx)
            await self._house.authorize(ctx, visit.request)
            return await self._handle(ctx, visit.request)

        try:
            reply = await self._house.database.read(work)
        except ActionError as error:
            if ctx is not None:
                await self._audit_refusal(ctx, error)
            raise
        if visit.action.is_protected and ctx is not None:
            await self._audit(ctx.audit_row("done"))
        return reply

    async def _flow(self, visit: Visit) -> bytes:
        """Carry out a FLOW: no transaction of its own, and a time limit.

        Its audit row commits with the step that changed something; where none did, or the
        FLOW was refused after all, it is written at the end. Only one that is declared with
        ``is_audited=False`` leaves none when it is done.
        """
        ctx = self._context(visit, None)
        seconds = FLOW_SECONDS_MAX
        if visit.call.deadline_ms is not None:
            seconds = min(seconds, visit.call.deadline_ms / 1_000)
        outcome = InternalError.name
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await self._authorize_flow(ctx, visit.request)
                reply = await self._handle(ctx, visit.request)
            outcome = "done"
        except TimeoutError:
            if not limit.expired():
                raise  # the handler's own: a fault of ours
            outcome = DeadlineExceededError.name
            raise DeadlineExceededError(f"it took longer than {seconds:g} s") from None
        except ActionError as error:
            outcome = error.name
            raise
        finally:
            if outcome != "done" or (visit.action.is_audited and not ctx.is_audited):
                await self._audit(ctx.audit_row(outcome))
        return reply

    async def _authorize_flow(self, ctx: Context, request: Request) -> None:
        """Authorize a FLOW on a snapshot of its own; anybody may call a PUBLIC one."""
        if isinstance(ctx.action.access, Public):
            return
        await ctx.read(lambda step: self._house.authorize(step, request))

    async def _handle(self, ctx: Context, request: Request) -> bytes:
        """Run the handler and encode its result."""
        return _encode(await ctx.action.run(ctx, request))

    def _context(self, visit: Visit, tx: Transaction | None) -> Context:
        """Return a fresh context; a transaction that is run again gets another one."""
        return Context(
            self._house,
            visit.action,
            tx,
            actor=visit.claims.member_id,
            session_id=visit.claims.session_id,
            source=visit.call.source,
            request_id=visit.request_id,
            now_ms=self._house.clock.now_ms(),
            connection=visit.call.connection,
            device=visit.claims.device,
        )

    async def _audit_refusal(self, ctx: Context, error: ActionError) -> None:
        """Write down that somebody was not permitted; other refusals changed nothing."""
        if error.code is Code.PERMISSION_DENIED:
            await self._audit(ctx.audit_row(error.name))

    async def _audit(self, row: AuditRow) -> None:
        """Write ``row`` with the next commit; the reply waits for it."""
        await self._house.database.write(lambda tx: self._house.audit.append(tx, row))

    def _unknown(self, name: str) -> UnknownActionError:
        """Return the error for an action that does not exist, with its near matches."""
        near = self._house.catalog.near(name)
        remedy = f"did you mean {', '.join(near)}?" if near else "see /openapi.json"
        return UnknownActionError(f"there is no action {name[:128]!r}", near=near, remedy=remedy)

    @staticmethod
    def _fault(call: Call, request_id: str, error: BaseException) -> Problem:
        """Log a fault of ours whole, and tell the caller only where to look for it."""
        _log.error("call failed", action=call.action, request_id=request_id, exc_info=error)
        return InternalError().problem(request_id)
