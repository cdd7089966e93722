"""Choosing and changing passwords, and lifting the lock that wrong ones set."""

from moothall.action import (
    FLOW,
    WRITE,
    Context,
    PerActor,
    Request,
    Result,
    Secret,
    Signed,
    action,
)
from moothall.core.errors import InvalidArgumentError, OverloadedError
from moothall.core.ids import is_id
from moothall.ports.hasher import PasswordHasher
from moothall.services.identity.actions.members import NameOrId
from moothall.services.identity.actions.proof import accept, give_back, prove_own
from moothall.services.identity.actions.sessions import end_sessions
from moothall.services.identity.adapters.blocklist import CommonPasswords
from moothall.services.identity.adapters.keys import TokenIssuer
from moothall.services.identity.errors import (
    AccountLockedError,
    MemberNotFoundError,
    WrongCredentialsError,
)
from moothall.services.identity.events import STREAM, AccountUnlocked, PasswordChanged
from moothall.services.identity.model import Member, PasswordSettings
from moothall.services.identity.rules.names import find_key
from moothall.services.identity.rules.passwords import (
    check_is_not_common,
    check_password,
    normalise_password,
)
from moothall.services.identity.store import lockout, members, passwords


class ChangePassword(Request):
    """The password as it is, as fresh proof, and the new one."""

    password: Secret
    new_password: Secret


class ChangedPassword(Result):
    """What became of the change."""

    sessions_ended: int
    """How many other sessions of the member ended."""


class UnlockAccount(Request):
    """By name or id."""

    member: NameOrId


class UnlockedAccount(Result):
    """Whose account can be signed in to again."""

    member_id: str
    had_guesses: bool
    """Whether there were wrong passwords to forget."""


async def check_new_password(
    ctx: Context, password: str, name: str, field: str = "password"
) -> str:
    """Return a password as it is hashed, if it may be chosen; for FLOWs.

    Args:
        ctx: A FLOW, outside of its steps.
        password: As it was typed.
        name: Of the member.
        field: Of the request, for the refusal.

    Raises:
        InvalidArgumentError: Too short, too long, one of the most common ones, the name of
            the member or of the hall, or one character repeated.
    """
    password = normalise_password(password)
    issuer = ctx.use(TokenIssuer).issuer
    names = (name, name.replace(" ", ""), "moothall", issuer, issuer.rpartition("/")[2])
    check_password(password, names, ctx.use(PasswordSettings), field)
    check_is_not_common(is_common=await ctx.use(CommonPasswords).has(password), field=field)
    return password


async def find_account(step: Context, member: str) -> Member:
    """Return a member by name or id, in a transaction; who was removed is not found.

    Raises:
        MemberNotFoundError: not_found. There is none.
    """
    if is_id(member):  # no name has the form of an id
        known = await passwords.find_password(step.tx, member)
    else:
        known = await passwords.find_password_by_name(step.tx, find_key(member) or "")
    if known.member is None:
        raise MemberNotFoundError(member=member, remedy="see identity.list_members")
    return known.member


@action(
    access=Signed("sessions:own"),
    effect=FLOW,
    limit=PerActor(calls=10, window_ms=60_000),
    raises=(AccountLockedError, WrongCredentialsError, MemberNotFoundError),
)
async def change_password(ctx: Context, request: ChangePassword) -> ChangedPassword:
    """Change your password; all your other sessions end.

    The old password is asked for anew, and a wrong one counts as it does at a sign-in.

    Args:
        request.password: The password as it is.
        request.new_password: Another one; no rule says what characters it must have.

    Raises:
        InvalidArgumentError: invalid_argument. The new password may not be chosen.
        AccountLockedError: failed_precondition. Too many wrong passwords.
        WrongCredentialsError: unauthenticated. The old password is wrong.
        MemberNotFoundError: not_found. The account was removed.

    Emits:
        PasswordChanged: once.
        SessionEnded: for each other session.
    """
    ctx.concern(path=f"member/{ctx.actor}")
    known = await ctx.read(lambda step: members.find_member(step.tx, step.actor))
    if known is None:
        raise MemberNotFoundError
    # Before the old one, so that a new one that may not be chosen costs no guess.
    new = await check_new_password(ctx, request.new_password, known.name, "new_password")
    if new == normalise_password(request.password):
        reason, remedy = "the new password is the old one", "choose another one"
        raise InvalidArgumentError("new_password", reason, remedy)
    async with prove_own(ctx, request.password) as proof:
        try:
            password_hash = await ctx.use(PasswordHasher).hash(new)
        except OverloadedError:
            await give_back(ctx, proof.guess)
            raise

        async def change(step: Context) -> int:
            await accept(step, proof)
            await passwords.update_password(step.tx, step.actor, password_hash)
            await passwords.delete_recovery(step.tx, step.actor)
            step.emit(STREAM, PasswordChanged(member_id=step.actor, reason="changed"))
            return await end_sessions(step, step.actor, "password changed", but=step.session_id)

        return ChangedPassword(sessions_ended=await ctx.write(change))


@action(
    access=Signed("members:unlock"),
    effect=WRITE,
    limit=PerActor(calls=10, window_ms=1_000),
    raises=(MemberNotFoundError,),
    command="member unlock",
)
async def unlock_account(ctx: Context, request: UnlockAccount) -> UnlockedAccount:
    """Lift the lock that wrong passwords have set, and forget them.

    Raises:
        MemberNotFoundError: not_found. There is no such member.

    Emits:
        AccountUnlocked: once, if there was anything to forget.
    """
    member = await find_account(ctx, request.member)
    ctx.concern(path=f"member/{member.member_id}")
    had_guesses = await lockout.delete_guesses(ctx.tx, member.member_id)
    if had_guesses:
        ctx.emit(STREAM, AccountUnlocked(member_id=member.member_id))
    return UnlockedAccount(member_id=member.member_id, had_guesses=had_guesses)
