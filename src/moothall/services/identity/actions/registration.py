"""Making an account: by oneself, with an invitation or a contact, or as a guest."""

from typing import Annotated, NamedTuple

from msgspec import Meta

from moothall.action import (
    FLOW,
    PUBLIC,
    READ,
    Context,
    Name,
    PerActor,
    PerSource,
    Request,
    Secret,
    Signed,
    action,
)
from moothall.core.addresses import network_of
from moothall.ports.hasher import PasswordHasher
from moothall.services.identity.actions.budgets import Budget, check_budgets, spend_budgets
from moothall.services.identity.actions.contacts import NEWCOMER, insert_proven, prove_address
from moothall.services.identity.actions.passwords import check_new_password
from moothall.services.identity.actions.sessions import (
    Device,
    give_tokens,
    open_session_for,
)
from moothall.services.identity.adapters.codes import CodeSeal
from moothall.services.identity.adapters.senders import Senders
from moothall.services.identity.errors import (
    ContactCodeRefusedError,
    GuestsRefusedError,
    HallFullError,
    InvitationRefusedError,
    MemberNotFoundError,
    NameTakenError,
    NotAGuestError,
    RegistrationClosedError,
)
from moothall.services.identity.events import STREAM, GuestBecameMember, MemberRegistered
from moothall.services.identity.model import (
    Member,
    OpenedSession,
    Registration,
    RegistrationSettings,
    Session,
)
from moothall.services.identity.rules.contacts import ADDRESS_LENGTH_MAX, Address, check_address
from moothall.services.identity.rules.names import check_name
from moothall.services.identity.rules.registration import NEEDS, check_proofs
from moothall.services.identity.rules.sessions import check_device
from moothall.services.identity.store import members, registration

_GUEST_DIGITS = 13
"""Of the id: its random part, so that guests cannot be counted by their names."""

OptionalContact = Annotated[
    str,
    Meta(
        max_length=ADDRESS_LENGTH_MAX,
        description="An e-mail address, or a phone number as in +4915112345678.",
    ),
]


class GetRegistration(Request):
    """A name that one would like to have, or none."""

    name: Annotated[str, Meta(max_length=64)] = ""


class Register(Request):
    """A new account, and what this hall asks for besides."""

    name: Name
    password: Secret
    invitation: Secret | None = None
    contact: OptionalContact = ""
    code: Secret | None = None


class RegisterGuest(Request):
    """What the device is called."""

    device: Device = ""


class BecomeMember(Request):
    """A name and a password for a guest, and what this hall asks for besides."""

    name: Name
    new_password: Secret
    invitation: Secret | None = None
    contact: OptionalContact = ""
    code: Secret | None = None


class _Proofs(NamedTuple):
    """What a newcomer was let in for; used up in the step that makes the account."""

    invitation: str | None
    """Digest of the invitation's code."""
    address: Address | None
    code: str
    """Digest of the code that was sent to ``address``."""


@action(
    access=PUBLIC,
    effect=READ,
    limit=PerSource(calls=60, window_ms=60_000),
    raises=(),
    command="registration show",
)
async def get_registration(ctx: Context, request: GetRegistration) -> Registration:
    """Tell how one gets an account here, and in an open hall whether a name is free.

    Args:
        request.name: A name that one would like to have; empty asks about none.

    Raises:
        InvalidArgumentError: invalid_argument. Nobody can have such a name; it says why.
    """
    settings = ctx.use(RegistrationSettings)
    is_free = None
    if settings.mode == "open" and request.name:
        name, key = check_name(request.name)
        is_free = not await members.has_name(ctx.tx, name, key, ctx.now_ms)
    return Registration(
        mode=settings.mode,
        needs=list(NEEDS[settings.mode]),
        contact_kinds=ctx.use(Senders).kinds(),
        guests=settings.guests,
        is_name_free=is_free,
    )


@action(
    access=PUBLIC,
    effect=FLOW,
    limit=PerSource(calls=10, window_ms=60_000),
    raises=(
        RegistrationClosedError,
        InvitationRefusedError,
        ContactCodeRefusedError,
        NameTakenError,
    ),
)
async def register(ctx: Context, request: Register) -> Member:
    """Make an account with a name and a password.

    What else it takes depends on the hall; ``get_registration`` tells. An invitation or a
    code is used up only if the account is made.

    Args:
        request.name: 1 to 32 characters in any script (RFC 8265), with single spaces;
            it begins and ends with a letter or digit.
        request.password: 8 to 256 characters of any kind, unless the hall demands more.
        request.invitation: The code of an invitation, in halls of mode ``invite``.
        request.contact: An address to which ``request_contact`` had a code sent; the hall
            may demand it, and any hall that can send takes it.
        request.code: That code.

    Raises:
        RegistrationClosedError: failed_precondition. Nobody can register here.
        InvitationRefusedError: permission_denied. Its code is wrong, used up, expired or
            taken back.
        ContactCodeRefusedError: permission_denied. The code is wrong, used, expired, or was
            guessed too often.
        NameTakenError: already_exists. Another member has this name, whatever its case, or
            one that looks like it, or had it until recently.

    Emits:
        MemberRegistered: once.
        ContactVerified: once, if there is a contact.
    """
    name, key = check_name(request.name)
    proofs = await _check_proofs(ctx, request, NEWCOMER)
    budgets = _budgets(ctx, "accounts")

    async def check(step: Context) -> None:
        await check_budgets(step, *budgets)
        if await members.has_name(step.tx, name, key, step.now_ms):
            raise _name_taken()

    await ctx.read(check)
    password = await check_new_password(ctx, request.password, name)
    password_hash = await ctx.use(PasswordHasher).hash(password)

    async def insert(step: Context) -> Member:
        member = Member(member_id=step.new_id(), name=name, created_at_ms=step.now_ms)
        await spend_budgets(step, *budgets)
        if not await members.insert_member(step.tx, member, key, password_hash):
            raise _name_taken()
        await _use_proofs(step, proofs, NEWCOMER, member.member_id)
        step.emit(STREAM, MemberRegistered(member_id=member.member_id))
        step.concern(actor=member.member_id)
        return member

    return await ctx.write(insert)


@action(
    access=PUBLIC,
    effect=FLOW,
    limit=PerSource(calls=10, window_ms=60_000),
    raises=(GuestsRefusedError, HallFullError),
    secret_reply=True,
    command="guest register",
)
async def register_guest(ctx: Context, request: RegisterGuest) -> OpenedSession:
    """Come in without name and password: an account with a made name, and a session of it.

    It lives as long as the session: there is no password to sign in with again. What a guest
    does is theirs, and stays theirs if they become a member (``become_member``).

    Args:
        request.device: A label by which the session is recognised; printable.

    Raises:
        GuestsRefusedError: failed_precondition. This hall has no guests.
        HallFullError: resource_exhausted. The hall has as many open sessions as it may.

    Emits:
        MemberRegistered: once.
    """
    if not ctx.use(RegistrationSettings).guests:
        raise GuestsRefusedError(remedy="make an account; see identity.get_registration")
    device = check_device(request.device)
    budgets = _budgets(ctx, "guests")

    async def insert(step: Context) -> Session:
        await spend_budgets(step, *budgets)
        member_id = step.new_id()
        name, key = check_name(f"guest-{member_id[-_GUEST_DIGITS:]}")
        member = Member(member_id=member_id, name=name, created_at_ms=step.now_ms)
        if not await members.insert_member(step.tx, member, key, None, is_guest=True):
            raise GuestsRefusedError("the name made for the guest is taken", remedy="try again")
        step.emit(STREAM, MemberRegistered(member_id=member_id))
        return await open_session_for(step, member, device)

    return give_tokens(ctx, await ctx.write(insert))


@action(
    access=Signed("account:use"),
    effect=FLOW,
    limit=PerActor(calls=10, window_ms=60_000),
    raises=(
        NotAGuestError,
        MemberNotFoundError,
        RegistrationClosedError,
        InvitationRefusedError,
        ContactCodeRefusedError,
        NameTakenError,
    ),
)
async def become_member(ctx: Context, request: BecomeMember) -> Member:
    """Choose a name and a password as a guest; id, session and all that is yours stay.

    It takes what registering takes (``register``); the code for a contact is asked for with
    ``request_contact``, as a newcomer does: ``add_contact`` wants a password.

    Raises:
        NotAGuestError: failed_precondition. You are a member already.
        MemberNotFoundError: not_found. The account was removed.
        RegistrationClosedError: failed_precondition. Nobody can register here.
        InvitationRefusedError: permission_denied. Its code is wrong, used up, expired or
            taken back.
        ContactCodeRefusedError: permission_denied. The code is wrong, used, expired, or was
            guessed too often.
        NameTakenError: already_exists. Another member has this name, or one that looks like it.

    Emits:
        GuestBecameMember: once.
        ContactVerified: once, if there is a contact.
    """
    name, key = check_name(request.name)

    async def check(step: Context) -> None:
        if not await members.is_guest(step.tx, step.actor):
            raise NotAGuestError
        if await members.has_name(step.tx, name, key, step.now_ms, but=step.actor):
            raise _name_taken()

    await ctx.read(check)
    proofs = await _check_proofs(ctx, request, NEWCOMER)
    budgets = _budgets(ctx, "accounts")
    password = await check_new_password(ctx, request.new_password, name, "new_password")
    password_hash = await ctx.use(PasswordHasher).hash(password)

    async def update(step: Context) -> Member:
        await spend_budgets(step, *budgets)
        found = await members.find_member_to_change(step.tx, step.actor)
        await check(step)
        if found is None:
            raise MemberNotFoundError
        await members.update_name(step.tx, step.actor, name, key, password_hash)
        await _use_proofs(step, proofs, NEWCOMER, step.actor)
        step.emit(STREAM, GuestBecameMember(member_id=step.actor))
        return Member(member_id=step.actor, name=name, created_at_ms=found[0].created_at_ms)

    return await ctx.write(update)


async def _check_proofs(ctx: Context, request: Register | BecomeMember, owner: str) -> _Proofs:
    """Return what a newcomer brings, found good; before anything that takes long.

    Raises:
        RegistrationClosedError: failed_precondition.
        InvitationRefusedError: permission_denied.
        ContactCodeRefusedError: permission_denied. A wrong guess is counted.
    """
    check_proofs(
        ctx.use(RegistrationSettings),
        invitation=request.invitation,
        contact=request.contact,
        code=request.code,
    )
    invitation, address, code = None, None, ""
    if request.invitation is not None:
        digest = invitation = ctx.use(CodeSeal).digest_invitation(request.invitation)

        async def is_good(step: Context) -> bool:
            return await registration.is_invitation_good(step.tx, digest, step.now_ms)

        if not await ctx.read(is_good):
            raise _invitation_refused()
    if request.contact and request.code is not None:
        address = check_address(request.contact)
        code = await prove_address(ctx, owner, address, request.code)
    return _Proofs(invitation, address, code)


async def _use_proofs(step: Context, proofs: _Proofs, owner: str, member_id: str) -> None:
    """Use up what a newcomer brought; of two who bring the same one loses here.

    Raises:
        InvitationRefusedError: permission_denied.
        ContactCodeRefusedError: permission_denied.
    """
    if proofs.invitation is not None and not await registration.update_invitation_used(
        step.tx, proofs.invitation, step.now_ms
    ):
        raise _invitation_refused()
    if proofs.address is not None:
        await insert_proven(step, owner, member_id, proofs.address, proofs.code)


def _budgets(ctx: Context, kind: str) -> tuple[Budget, Budget]:
    """Return how many accounts this source, and all together, may make in an hour."""
    settings = ctx.use(RegistrationSettings)
    return (
        Budget(kind, network_of(ctx.source), settings.accounts_per_source_hour_max),
        Budget(kind, "", settings.accounts_per_hall_hour_max),
    )


def _name_taken() -> NameTakenError:
    return NameTakenError(field="name", remedy="choose another name")


def _invitation_refused() -> InvitationRefusedError:
    """Return the one refusal for all that can be wrong with an invitation."""
    return InvitationRefusedError(remedy="ask whoever invited you for another one")
