"""Making an account."""

from moothall.action import (
    FLOW,
    PUBLIC,
    Context,
    Name,
    PerSource,
    Request,
    Secret,
    action,
)
from moothall.ports.hasher import PasswordHasher
from moothall.services.identity.errors import (
    NameTakenError,
)
from moothall.services.identity.events import STREAM, MemberRegistered
from moothall.services.identity.model import Member
from moothall.services.identity.rules.names import check_name
from moothall.services.identity.rules.passwords import check_password, normalise_password
from moothall.services.identity.store import members


class Register(Request):
    """A new account."""

    name: Name
    password: Secret


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
        return await members.has_name(step.tx, key)

    if await ctx.read(is_taken):
        raise NameTakenError(field="name", remedy="choose another name")
    password_hash = await ctx.use(PasswordHasher).hash(password)

    async def insert(step: Context) -> Member:
        member = Member(member_id=step.new_id(), name=name, created_at_ms=step.now_ms)
        if not await members.insert_member(step.tx, member, key, password_hash):
            raise NameTakenError(field="name", remedy="choose another name")
        step.emit(STREAM, MemberRegistered(member_id=member.member_id, name=name))
        step.concern(actor=member.member_id)
        return member

    return await ctx.write(insert)
