"""A forgotten password: a code that is sent, or handed over, sets a new one.

Nothing here tells who exists. Whoever asks for a code is answered before anything is sent (a
job does that), and every code that does not do is refused alike.
"""

import shlex
from typing import Annotated

import structlog
from msgspec import Meta
from msgspec.structs import replace

from moothall.action import (
    FLOW,
    PUBLIC,
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
from moothall.core.addresses import network_of
from moothall.core.errors import InvalidArgumentError, RateLimitedError
from moothall.core.paths import ROOT
from moothall.core.units import MINUTE_MS
from moothall.ports.authority import Authority
from moothall.ports.hasher import PasswordHasher
from moothall.services.identity.actions.budgets import Budget, spend_budgets
from moothall.services.identity.actions.members import NameOrId
from moothall.services.identity.actions.passwords import check_new_password, find_account
from moothall.services.identity.actions.sessions import end_sessions
from moothall.services.identity.adapters.codes import CodeSeal
from moothall.services.identity.adapters.keys import TokenIssuer
from moothall.services.identity.adapters.recovery import RecoverySeal, TypedCode
from moothall.services.identity.adapters.senders import Senders
from moothall.services.identity.errors import (
    MemberNotFoundError,
    MessageNotSentError,
    RecoveryExceedsOwnError,
    RecoveryRefusedError,
)
from moothall.services.identity.events import STREAM, PasswordChanged, RecoveryCodeIssued
from moothall.services.identity.model import (
    Member,
    RecoveryCode,
    RecoverySettings,
    RegistrationSettings,
)
from moothall.services.identity.rules.contacts import ADDRESS_LENGTH_MAX, check_address
from moothall.services.identity.rules.names import find_key
from moothall.services.identity.rules.recovery import check_holds_no_more, may_guess, may_send
from moothall.services.identity.store import contacts, lockout, members, passwords

SENDS_MAX = 3
"""How often sending one code is tried, a few seconds apart."""

STATEMENTS_OF_CODE = 5
"""Statements by which ``_prepare_code`` makes a code, after those that tell whether it may: two
budgets within a savepoint, and the code."""

RECOVER = "members:recover"

_log = structlog.get_logger("moothall.identity")

ContactText = Annotated[str, Meta(min_length=3, max_length=ADDRESS_LENGTH_MAX)]


class RequestRecovery(Request):
    """Whose password was forgotten: a name or a verified contact, not both."""

    name: Name | None = None
    contact: ContactText | None = None


class RequestedRecovery(Result):
    """The same for everybody, whether there is such a member or not."""

    life_ms: int
    """How long a code is good, if one is sent."""


class CompleteRecovery(Request):
    """A code, and the new password."""

    name: Name
    code: Secret
    new_password: Secret


class CompletedRecovery(Result):
    """Whose password is a new one; nobody is signed in by it."""

    member_id: str
    name: str
    sessions_ended: int


class IssueRecoveryCode(Request):
    """Who shall be able to choose a new password."""

    member: NameOrId


class IssuedRecoveryCode(Result):
    """To be handed to the member, and to nobody else. It is shown once."""

    member_id: str
    name: str
    code: Secret
    expires_at_ms: int


@action(
    access=PUBLIC,
    effect=FLOW,
    limit=PerSource(calls=5, window_ms=60_000),
    raises=(),
)
async def request_recovery(ctx: Context, request: RequestRecovery) -> RequestedRecovery:
    """Have a code sent to a verified contact of the member who forgot the password.

    The answer is the same whether there is such a member, whether they have a contact, and
    whether one more code may be sent to them now.

    Args:
        request.name: Of the member; the code goes to the oldest contact that can be reached.
        request.contact: Or where the code shall go: a verified e-mail address or phone number.

    Raises:
        InvalidArgumentError: invalid_argument. Neither or both are given, or it is no address.
    """
    if (request.name is None) == (request.contact is None):
        remedy = "give one of them"
        raise InvalidArgumentError("name", "a name or a contact is needed, not both", remedy)
    settings = ctx.use(RecoverySettings)
    address_key = "" if request.contact is None else check_address(request.contact).key
    name_key = find_key(request.name or "") or ""

    async def prepare(step: Context) -> None:
        registration = step.use(RegistrationSettings)
        per_source = registration.messages_per_source_hour_max
        await spend_budgets(step, Budget("messages", network_of(step.source), per_source))
        if address_key:
            known = await passwords.find_account_by_contact(step.tx, address_key)
        else:
            known = await passwords.find_password_by_name(step.tx, name_key)
        member_id = ""  # nobody's
        if known.member is not None:
            member_id = known.member.member_id
            step.concern(path=f"member/{member_id}")
        await step.tx.lock(f"identity.recovery:{member_id or name_key or address_key}")
        if not await _prepare_code(step, member_id, address_key):
            await _take_as_long(step)

    await ctx.write(prepare)
    return RequestedRecovery(life_ms=settings.sent_life_ms)


@action(
    access=PUBLIC,
    effect=FLOW,
    limit=PerSource(calls=10, window_ms=60_000),
    raises=(RecoveryRefusedError,),
)
async def complete_recovery(ctx: Context, request: CompleteRecovery) -> CompletedRecovery:
    """Set a new password by a code; all sessions of the member end, and so does a lock.

    Args:
        request.name: Of the member.
        request.code: As it was sent or handed over; spaces, hyphens and case do not matter.
        request.new_password: No rule says what characters it must have.

    Raises:
        InvalidArgumentError: invalid_argument. The new password may not be chosen.
        RecoveryRefusedError: unauthenticated. The code is wrong, spent, expired or used up, or
            there is no such member.

    Emits:
        PasswordChanged: once.
        SessionEnded: for each session.
    """
    # First, so that a password that may not be chosen costs no guess.
    new = await check_new_password(ctx, request.new_password, request.name, "new_password")
    key, typed = find_key(request.name) or "", ctx.use(RecoverySeal).read(request.code)
    code = await ctx.write(lambda step: _guess(step, key, typed), outcome=None)
    if code is None:
        raise RecoveryRefusedError
    password_hash = await ctx.use(PasswordHasher).hash(new)

    async def complete(step: Context) -> CompletedRecovery:
        member = await _spend(step, code)
        member_id = member.member_id
        await passwords.update_password(step.tx, member_id, password_hash)
        await lockout.delete_guesses(step.tx, member_id)
        step.emit(STREAM, PasswordChanged(member_id=member_id, reason="recovered"))
        step.concern(actor=member_id)
        ended = await end_sessions(step, member_id, "password recovered")
        return CompletedRecovery(member_id=member_id, name=member.name, sessions_ended=ended)

    return await ctx.write(complete)


@action(
    access=Signed(RECOVER),
    effect=WRITE,
    limit=PerActor(calls=10, window_ms=60_000),
    raises=(MemberNotFoundError, RecoveryExceedsOwnError),
    command="member recover",
    secret_reply=True,
)
async def issue_recovery_code(ctx: Context, request: IssueRecoveryCode) -> IssuedRecoveryCode:
    """Get a code by which a member sets a new password, to hand it over in person.

    The command shows it with ``--show-secrets``. It takes the place of one that was issued
    before. Nobody opens by it an account that may do more than they may themselves, now or
    when the code is used.

    Raises:
        MemberNotFoundError: not_found. There is no such member.
        RecoveryExceedsOwnError: permission_denied. The member holds a permission that the
            caller does not hold.

    Emits:
        RecoveryCodeIssued: once.
    """
    member = await find_account(ctx, request.member)
    ctx.concern(path=f"member/{member.member_id}")
    authority = ctx.use(Authority)
    own = await authority.rights_of(ctx.tx, ctx.actor)
    rights = await authority.rights_of(ctx.tx, member.member_id)
    check_holds_no_more(own.allows, rights.list_held(ROOT))
    seal = ctx.use(RecoverySeal)
    selector, nonce = seal.make_parts()
    code = RecoveryCode(
        member_id=member.member_id,
        kind="issued",
        selector=selector,
        nonce=nonce,
        made_at_ms=ctx.now_ms,
        expires_at_ms=ctx.now_ms + ctx.use(RecoverySettings).issued_life_ms,
        guesses=0,
        issued_by=ctx.actor,
    )
    await passwords.update_recovery(ctx.tx, code)
    ctx.emit(STREAM, RecoveryCodeIssued(member_id=member.member_id, issued_by=ctx.actor))
    return IssuedRecoveryCode(
        member_id=member.member_id,
        name=member.name,
        code=seal.code(code),
        expires_at_ms=code.expires_at_ms,
    )


async def send_code(ctx: Context, code: RecoveryCode) -> None:
    """Send one code that waits, outside of any transaction; for the job.

    Each try is written down before it is made, so that a crash cannot send without end.
    """

    async def begin(step: Context) -> tuple[str, str, str] | None:
        member = await members.find_member(step.tx, code.member_id)
        owner = await contacts.find_contact_owner(step.tx, code.address_key)
        left = code.sends_left - 1 if owner == code.member_id else 0
        if not await passwords.update_sends_left(step.tx, code, left):
            return None  # another code, or another process
        if member is None or owner != code.member_id:
            return None  # the contact was removed meanwhile
        contact = await contacts.find_contact(step.tx, code.member_id, code.address_key)
        return None if contact is None else (member.name, contact.kind, contact.contact)

    async def end(step: Context) -> None:
        sent = replace(code, sends_left=code.sends_left - 1)
        await passwords.update_sends_left(step.tx, sent, 0)

    found = await ctx.write(begin, outcome=None)
    if found is None:
        return
    name, kind, address = found
    issuer = ctx.use(TokenIssuer).issuer
    hall = issuer if issuer.startswith("https://") else "this Moothall"
    text = _text_of(hall, name, ctx.use(RecoverySeal).code(code), ctx.use(RecoverySettings))
    try:
        await ctx.use(Senders).send(kind, address, f"A new password for {hall}", text)
    except MessageNotSentError:
        return  # it is in the log; the next run tries again
    await ctx.write(end, outcome=None)


async def _prepare_code(step: Context, member_id: str, address_key: str) -> bool:
    """Make a code that the job will send; False if there is no such member, or no way to them.

    Nor is there one if they have had enough of them.
    """
    settings, kinds = step.use(RecoverySettings), step.use(Senders).kinds()
    before = await passwords.find_recovery(step.tx, member_id, "sent")
    known = await passwords.list_address_keys(step.tx, member_id)
    reachable = [key for key, kind in known if kind in kinds and address_key in {"", key}]
    if not reachable or not may_send(before, step.now_ms, settings):
        return False
    registration, seal = step.use(RegistrationSettings), step.use(RecoverySeal)
    counted_as = step.use(CodeSeal).digest_address(reachable[0])
    budgets = (
        Budget("messages", counted_as, registration.messages_per_contact_hour_max),
        Budget("messages", "", registration.messages_per_hall_hour_max),
    )
    try:
        # What the first allows and the second does not is not spent.
        await step.tx.nested(lambda: spend_budgets(step, *budgets))
    except RateLimitedError:
        _log.warning("no recovery code is sent: the budget of messages is spent")
        return False  # told to the operator only: the caller would learn that the member exists
    selector, nonce = seal.make_parts()
    code = RecoveryCode(
        member_id=member_id,
        kind="sent",
        selector=selector,
        nonce=nonce,
        made_at_ms=step.now_ms,
        expires_at_ms=step.now_ms + settings.sent_life_ms,
        guesses=0,
        address_key=reachable[0],
        sends_left=SENDS_MAX,
    )
    await passwords.update_recovery(step.tx, code)
    return True


async def _take_as_long(step: Context) -> None:
    """Run as many statements as making a code does.

    On a server each is a way there and back, by which a caller could tell who exists.
    """
    for _ in range(STATEMENTS_OF_CODE):
        await members.find_member(step.tx, "")


async def _guess(step: Context, name_key: str, typed: TypedCode) -> RecoveryCode | None:
    """Count a guess and look at it in one transaction; None if the code does not do."""
    known = await passwords.find_password_by_name(step.tx, name_key)
    member_id = ""  # nobody's, who are looked up as well, so that it takes as long
    if known.member is not None:
        member_id = known.member.member_id
        step.concern(path=f"member/{member_id}")
    code = await passwords.find_recovery_by_selector(step.tx, member_id, typed.selector)
    if code is None or not may_guess(code, step.now_ms, step.use(RecoverySettings)):
        return None
    await passwords.update_recovery(step.tx, replace(code, guesses=code.guesses + 1))
    return code if step.use(RecoverySeal).is_code(code, typed) else None


async def _spend(step: Context, code: RecoveryCode) -> Member:
    """Use up a code that was right, and with it all others of the member.

    Raises:
        RecoveryRefusedError: It was used, replaced or expired since, or whoever issued it may
            not open this account any more: rights may have been granted since.
    """
    member_id = code.member_id
    # The member first, as whoever changes the password does.
    known = await passwords.find_password(step.tx, member_id)
    now = await passwords.find_recovery(step.tx, member_id, code.kind)
    if now is None or now.nonce != code.nonce or known.member is None:
        raise RecoveryRefusedError
    if step.now_ms >= now.expires_at_ms:
        raise RecoveryRefusedError
    if code.issued_by:
        issuer = await step.use(Authority).rights_of(step.tx, code.issued_by)
        own = await step.use(Authority).rights_of(step.tx, member_id)
        try:
            check_holds_no_more(issuer.allows, [(RECOVER, ROOT), *own.list_held(ROOT)])
        except RecoveryExceedsOwnError:
            raise RecoveryRefusedError from None
    await passwords.delete_recovery(step.tx, member_id)
    return known.member


def _text_of(hall: str, name: str, code: str, settings: RecoverySettings) -> str:
    """Return the message."""
    return (
        f"Somebody asked for a new password of {name} at {hall}. The code is {code}\n\n"
        f"It is good for {settings.sent_life_ms // MINUTE_MS} minutes, once:"
        f" moothall recovery complete {shlex.quote(name)}\n\n"
        "If it was not you, ignore this message and tell nobody the code; the password stays as"
        " it is.\n"
    )
