"""Public verbs of the identity room."""

from typing import Annotated

from msgspec import Meta

from moothall.action import (
    FLOW,
    PUBLIC,
    READ,
    WRITE,
    Context,
    Name,
    PerActor,
    PerSource,
    Request,
    Result,
    Secret,
    Signed,
    action,
)
from moothall.action.token import sign_token
from moothall.core.errors import InvalidArgumentError
from moothall.core.ids import is_id
from moothall.ports.hasher import PasswordHasher
from moothall.ports.keyring import KeyRing
from moothall.services.identity import store
from moothall.services.identity.adapters import EndedSessions, RefreshSeal, TokenIssuer
from moothall.services.identity.errors import (
    MemberNotFoundError,
    NameTakenError,
    SessionEndedError,
    WrongCredentialsError,
)
from moothall.services.identity.events import MemberRegistered, SessionEnded
from moothall.services.identity.model import Member, OpenedSession, Session
from moothall.services.identity.rules import (
    SESSION_LIFE_MS,
    RefreshToken,
    Rotation,
    check_name,
    check_password,
    decide_rotation,
    find_key,
    normalise_password,
)

STREAM = "identity"

NameOrId = Annotated[str, Meta(min_length=1, max_length=128, description="A member's name or id.")]
PageSize = Annotated[int, Meta(ge=1, le=500)]


class Register(Request):
    """A new account."""

    name: Name
    password: Secret


class OpenSession(Request):
    """Name and password."""

    name: Name
    password: Secret


class RefreshSession(Request):
    """The newest refresh token of a session."""

    refresh_token: Secret


class CloseSession(Request):
    """Asks for nothing; the session is the one of the call."""


class SessionClosed(Result):
    """The session that ended."""

    session_id: str
    ended_at_ms: int


class GetSelf(Request):
    """Asks for nothing."""


class FindMember(Request):
    """By name or id."""

    member: NameOrId


class ListMembers(Request):
    """A page of members by name; ``after`` is the ``next`` of the page before."""

    after: Annotated[str, Meta(max_length=128)] = ""
    limit: PageSize = 100


class MemberPage(Result):
    """A page of members; ``next`` is None on the last one."""

    members: list[Member]
    next: str | None


class NameMembers(Request):
    """Members whose names are wanted, at most 500."""

    member_ids: Annotated[list[str], Meta(max_length=500)]


class MemberNames(Result):
    """Names by id; who does not exist is left out."""

    names: dict[str, str]


class AddMembers(Request):
    """Names that shall have an account, at most 500."""

    names: Annotated[list[Name], Meta(min_length=1, max_length=500)]


class RefusedName(Result):
    """A name that cannot be had, and why."""

    number: int
    """Its place among the names, from 0."""
    reason: str
    remedy: str


class AddedMembers(Result):
    """One member per name, in order; None for a name that was refused."""

    members: list[Member | None]
    refused: list[RefusedName]


@action(
    access=PUBLIC,
    effect=FLOW,
    limit=PerSource(calls=10, window_ms=60_000),
    raises=(NameTakenError,),
)
async def register(ctx: Context, request: Register) -> Member:
    """Make an account with a name and a password.

    Args:
        request.name: 1 to 32 characters in any script (RFC 8265), with single spaces;
            it begins and ends with a letter or digit.
        request.password: 8 to 256 characters of any kind.

    Raises:
        NameTakenError: already_exists. Another member has this name, whatever its case.

    Emits:
        MemberRegistered: once.
    """
    name, key = check_name(request.name)
    password = normalise_password(request.password)
    check_password(password, name)

    async def is_taken(step: Context) -> bool:
        return await store.has_name(step.tx, key)

    if await ctx.read(is_taken):
        raise NameTakenError(field="name", remedy="choose another name")
    password_hash = await ctx.use(PasswordHasher).hash(password)

    async def insert(step: Context) -> Member:
        member = Member(member_id=step.new_id(), name=name, created_at_ms=step.now_ms)
        if not await store.insert_member(step.tx, member, key, password_hash):
            raise NameTakenError(field="name", remedy="choose another name")
        step.emit(STREAM, MemberRegistered(member_id=member.member_id, name=name))
        step.concern(actor=member.member_id)
        return member

    return await ctx.write(insert)


@action(
    access=PUBLIC,
    effect=FLOW,
    limit=PerSource(calls=30, window_ms=60_000),
    raises=(WrongCredentialsError,),
    secret_reply=True,
)
async def open_session(ctx: Context, request: OpenSession) -> OpenedSession:
    """Sign in: open a session by name and password.

    An unknown name is answered like a wrong password, and takes as long; so is one that
    nobody can have.

    Raises:
        WrongCredentialsError: unauthenticated. Name and password do not belong together.
    """
    hasher, password = ctx.use(PasswordHasher), normalise_password(request.password)
    key = find_key(request.name) or ""
    found = await ctx.read(lambda step: store.find_credentials(step.tx, key))
    known = None if found is None else found.password_hash
    if found is not None:
        ctx.concern(path=f"member/{found.member.member_id}")
    is_right = await hasher.verify(known, password)
    if not is_right or found is None or known is None:
        raise WrongCredentialsError
    renewed = await hasher.hash(password) if hasher.is_outdated(known) else None

    async def insert(step: Context) -> Session:
        if renewed is not None:
            await store.update_password_hash(step.tx, found.member.member_id, known, renewed)
        session = Session(
            session_id=step.new_id(),
            member=found.member,
            generation=1,
            rotated_at_ms=step.now_ms,
            expires_at_ms=step.now_ms + SESSION_LIFE_MS,
            ended_at_ms=None,
        )
        await store.insert_session(step.tx, session, step.source)
        step.concern(actor=found.member.member_id)
        return session

    return _give_tokens(ctx, await ctx.write(insert))


@action(
    access=PUBLIC,
    effect=FLOW,
    limit=PerSource(calls=120, window_ms=60_000),
    raises=(SessionEndedError,),
    secret_reply=True,
    is_activity=False,
)
async def refresh_session(ctx: Context, request: RefreshSession) -> OpenedSession:
    """Renew a session's tokens; the refresh token that was used is spent.

    The one before the newest may be repeated for 10 s, in case its reply was lost. Any
    older one ends the session, because somebody else may have it.

    Raises:
        SessionEndedError: unauthenticated. Sign in again.
    """
    token = ctx.use(RefreshSeal).open(request.refresh_token)
    if token is None:
        raise SessionEndedError(remedy="sign in again")
    session = await ctx.write(lambda step: _rotate(step, token))
    if session is None:
        raise SessionEndedError(remedy="sign in again")
    return _give_tokens(ctx, session)


@action(
    access=Signed("sessions:own"),
    effect=WRITE,
    limit=PerActor(calls=10, window_ms=1_000),
    raises=(),
)
async def close_session(ctx: Context, request: CloseSession) -> SessionClosed:  # noqa: ARG001
    """Sign out: end the session of this call; its tokens are refused from now on.

    Emits:
        SessionEnded: once per session.
    """
    await _end(ctx, ctx.actor, ctx.session_id, "closed")
    return SessionClosed(session_id=ctx.session_id, ended_at_ms=ctx.now_ms)


@action(
    access=Signed("sessions:own"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(MemberNotFoundError,),
)
async def get_self(ctx: Context, request: GetSelf) -> Member:  # noqa: ARG001 - asks for nothing
    """Tell who calls.

    Raises:
        MemberNotFoundError: not_found. The account was removed.
    """
    member = await store.find_member(ctx.tx, ctx.actor)
    if member is None:
        raise MemberNotFoundError
    return member


@action(
    access=Signed("members:read"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(MemberNotFoundError,),
    command="member show",
)
async def find_member(ctx: Context, request: FindMember) -> Member:
    """Find a member by name or id.

    Raises:
        MemberNotFoundError: not_found. There is none.
    """
    member = None
    if is_id(request.member):  # no name has the form of an id
        member = await store.find_member(ctx.tx, request.member)
    elif key := find_key(request.member):
        member = await store.find_member_by_name(ctx.tx, key)
    if member is None:
        raise MemberNotFoundError(member=request.member, remedy="see identity.list_members")
    return member


@action(
    access=Signed("members:read"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(),
)
async def list_members(ctx: Context, request: ListMembers) -> MemberPage:
    """List members by name, by pages."""
    found = await store.list_members(ctx.tx, request.after, request.limit)
    is_last = len(found) < request.limit
    return MemberPage(
        members=[member for _, member in found], next=None if is_last else found[-1][0]
    )


@action(
    access=Signed("members:read"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(),
)
async def name_members(ctx: Context, request: NameMembers) -> MemberNames:
    """Tell the names of members that are known by id."""
    members = await store.list_members_by_id(ctx.tx, request.member_ids)
    return MemberNames(names={member.member_id: member.name for member in members})


@action(
    access=Signed("members:add"),
    effect=WRITE,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(),
)
async def add_members(ctx: Context, request: AddMembers) -> AddedMembers:
    """Make accounts for others, without a password; who exists already stays as they are.

    A name that cannot be had is reported and the others are added. Nobody can sign in to
    such an account until an administrator hands it over.

    Emits:
        MemberRegistered: once per new account.
    """
    members: list[Member | None] = []
    refused = []
    for number, wanted in enumerate(request.names):
        try:
            name, key = check_name(wanted)
        except InvalidArgumentError as error:
            members.append(None)
            reason, remedy = str(error.details["reason"]), str(error.details.get("remedy", ""))
            refused.append(RefusedName(number=number, reason=reason, remedy=remedy))
            continue
        member = await store.find_member_by_name(ctx.tx, key)
        if member is None:
            member = Member(member_id=ctx.new_id(), name=name, created_at_ms=ctx.now_ms)
            await store.insert_member(ctx.tx, member, key, None)
            ctx.emit(STREAM, MemberRegistered(member_id=member.member_id, name=name))
        members.append(member)
    return AddedMembers(members=members, refused=refused)


async def _rotate(step: Context, token: RefreshToken) -> Session | None:
    """Carry out what the rules decide; None where that was to end the session."""
    session = await store.find_session(step.tx, token.session_id)
    decision = decide_rotation(session, token, step.now_ms)
    if session is None or decision is Rotation.REFUSE:
        raise SessionEndedError(remedy="sign in again")
    step.concern(actor=session.member.member_id)
    if decision is Rotation.END:
        await _end(step, session.member.member_id, session.session_id, "refresh token reused")
        return None
    if decision is Rotation.REPEAT:
        return session
    generation = session.generation + 1
    await store.update_generation(step.tx, session.session_id, generation, step.now_ms)
    return Session(
        session.session_id,
        session.member,
        generation,
        step.now_ms,
        session.expires_at_ms,
        None,
    )


async def _end(ctx: Context, member_id: str, session_id: str, reason: str) -> None:
    """End a session, and refuse its tokens as soon as that is durable."""
    if not await store.update_ended(ctx.tx, session_id, ctx.now_ms):
        return  # two calls ended it in the same moment
    ended, now_ms = ctx.use(EndedSessions), ctx.now_ms
    ctx.tx.on_commit(lambda: ended.add(session_id, now_ms))
    ctx.emit(STREAM, SessionEnded(member_id=member_id, session_id=session_id, reason=reason))


def _give_tokens(ctx: Context, session: Session) -> OpenedSession:
    """Return the tokens of a session's present generation."""
    issuer = ctx.use(TokenIssuer)
    access_token, expires_at_ms = sign_token(
        ctx.use(KeyRing),
        issuer=issuer.issuer,
        audience=issuer.audience,
        member_id=session.member.member_id,
        session_id=session.session_id,
        session_expires_at_ms=session.expires_at_ms,
        token_id=ctx.new_id(),
        now_ms=ctx.now_ms,
    )
    return OpenedSession(
        member_id=session.member.member_id,
        name=session.member.name,
        session_id=session.session_id,
        refresh_token=ctx.use(RefreshSeal).token(session.session_id, session.generation),
        refresh_expires_at_ms=session.expires_at_ms,
        access_token=access_token,
        access_expires_at_ms=expires_at_ms,
    )
