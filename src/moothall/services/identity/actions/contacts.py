"""Addresses outside of the hall: showing that one is yours, and giving it up."""

import hmac
from typing import Annotated

from msgspec import Meta

from moothall.action import (
    FLOW,
    PUBLIC,
    READ,
    WRITE,
    Context,
    PerActor,
    PerSource,
    Request,
    Result,
    Secret,
    Signed,
    action,
)
from moothall.core.addresses import network_of
from moothall.core.errors import InvalidArgumentError
from moothall.core.units import MINUTE_MS
from moothall.services.identity.actions.budgets import Budget, spend_budgets
from moothall.services.identity.actions.proof import accept, prove_own
from moothall.services.identity.adapters.codes import CodeSeal
from moothall.services.identity.adapters.keys import TokenIssuer
from moothall.services.identity.adapters.senders import Senders
from moothall.services.identity.errors import (
    AccountLockedError,
    ContactCodeRefusedError,
    ContactLimitError,
    ContactNotFoundError,
    LastContactError,
    MessageNotSentError,
    RegistrationClosedError,
    WrongCredentialsError,
)
from moothall.services.identity.events import STREAM, ContactRemoved, ContactVerified
from moothall.services.identity.model import Contact, ContactCode, RegistrationSettings
from moothall.services.identity.rules.contacts import ADDRESS_LENGTH_MAX, Address, check_address
from moothall.services.identity.rules.registration import check_is_open
from moothall.services.identity.store import contacts, members

ContactText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=ADDRESS_LENGTH_MAX,
        description="An e-mail address, or a phone number as in +4915112345678.",
    ),
]

NEWCOMER = ""
"""Who asks for a code without having an account."""


class RequestContact(Request):
    """The address to which a code shall be sent."""

    contact: ContactText


class AddContact(Request):
    """The address to which a code shall be sent, and your password as fresh proof."""

    contact: ContactText
    password: Secret


class VerifyContact(Request):
    """An address, and the code that was sent there."""

    contact: ContactText
    code: Secret


class ListContacts(Request):
    """Asks for nothing."""


class RemoveContact(Request):
    """One of your addresses."""

    contact: ContactText


class RequestedContact(Result):
    """Where a message was sent, whoever has an account with that address."""

    contact: str
    """The address in its one form."""
    expires_at_ms: int
    """How long the code is good."""


class ContactList(Result):
    """All verified addresses of a member, the oldest first."""

    contacts: list[Contact]


@action(
    access=PUBLIC,
    effect=FLOW,
    limit=PerSource(calls=10, window_ms=60_000),
    raises=(RegistrationClosedError, MessageNotSentError),
)
async def request_contact(ctx: Context, request: RequestContact) -> RequestedContact:
    """Have a code sent to an address with which you want to register.

    The answer is the same if an account has that address; the message then says so and holds
    no code. A new code makes the one before it worthless.

    Raises:
        InvalidArgumentError: invalid_argument. The hall cannot reach such addresses.
        RegistrationClosedError: failed_precondition. Nobody can register here.
        MessageNotSentError: unavailable. Sending is out of order.
    """
    check_is_open(ctx.use(RegistrationSettings))
    return await _send_code(ctx, NEWCOMER, request.contact)


@action(
    access=Signed("account:use"),
    effect=FLOW,
    limit=PerActor(calls=10, window_ms=60_000),
    raises=(
        AccountLockedError,
        WrongCredentialsError,
        ContactLimitError,
        MessageNotSentError,
    ),
)
async def add_contact(ctx: Context, request: AddContact) -> RequestedContact:
    """Have a code sent to an address of yours; ``verify_contact`` then adds it.

    The answer is the same if another account has that address; the message then says so and
    holds no code. The password is asked again, because a forgotten one is reset through a
    contact: a stolen session must not lead there.

    Raises:
        InvalidArgumentError: invalid_argument. The hall cannot reach such addresses.
        AccountLockedError: failed_precondition. Too many wrong passwords;
            ``details.retry_after_ms`` says how long the account stays locked.
        WrongCredentialsError: unauthenticated. This is not your password.
        ContactLimitError: failed_precondition. You have as many as you may.
        MessageNotSentError: unavailable. Sending is out of order.
    """
    async with prove_own(ctx, request.password) as proof:
        await ctx.write(lambda step: accept(step, proof), outcome=None)
    return await _send_code(ctx, ctx.actor, request.contact)


@action(
    access=Signed("account:use"),
    effect=FLOW,
    limit=PerActor(calls=10, window_ms=60_000),
    raises=(ContactCodeRefusedError, ContactLimitError),
)
async def verify_contact(ctx: Context, request: VerifyContact) -> Contact:
    """Show that an address is yours, by the code that was sent there.

    Raises:
        ContactCodeRefusedError: permission_denied. The code is wrong, used, expired, or was
            guessed too often.
        ContactLimitError: failed_precondition. You have as many as you may.

    Emits:
        ContactVerified: once.
    """
    address = check_address(request.contact)
    digest = await prove_address(ctx, ctx.actor, address, request.code)

    async def insert(step: Context) -> Contact:
        # So that no other call of theirs adds one too many in the same moment.
        if await members.find_member_to_change(step.tx, step.actor) is None:
            raise _refused()
        await _check_count(step, step.actor)
        return await insert_proven(step, step.actor, step.actor, address, digest)

    return await ctx.write(insert)


@action(
    access=Signed("sessions:own"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(),
)
async def list_contacts(ctx: Context, request: ListContacts) -> ContactList:  # noqa: ARG001
    """List your verified addresses."""
    most = ctx.use(RegistrationSettings).contacts_per_member_max
    return ContactList(contacts=await contacts.list_contacts(ctx.tx, ctx.actor, most))


@action(
    access=Signed("sessions:own"),
    effect=WRITE,
    limit=PerActor(calls=10, window_ms=1_000),
    raises=(ContactNotFoundError, LastContactError),
)
async def remove_contact(ctx: Context, request: RemoveContact) -> Contact:
    """Give up a verified address; another account may have it from now on.

    Raises:
        ContactNotFoundError: not_found. It is none of yours.
        LastContactError: failed_precondition. The hall makes accounts by contact, so each
            keeps one.

    Emits:
        ContactRemoved: once.
    """
    address = check_address(request.contact)
    # So that no other call of theirs removes the last one in the same moment.
    await members.find_member_to_change(ctx.tx, ctx.actor)
    found = await contacts.find_contact(ctx.tx, ctx.actor, address.key)
    if found is None:
        raise ContactNotFoundError(contact=address.text)
    is_demanded = ctx.use(RegistrationSettings).mode == "contact"
    if is_demanded and await contacts.count_contacts(ctx.tx, ctx.actor) == 1:
        raise LastContactError(remedy="add another contact first")
    await contacts.delete_contact(ctx.tx, ctx.actor, address.key)
    ctx.emit(STREAM, ContactRemoved(member_id=ctx.actor, kind=found.kind))
    return found


async def prove_address(ctx: Context, owner: str, address: Address, code: str) -> str:
    """Return the digest of the right code; a wrong one is counted and durable before the refusal.

    The code is used up by :func:`insert_proven`, in the transaction that relies on it.

    Args:
        ctx: A FLOW, outside of its steps.
        owner: Id of the member who asked for the code, or :data:`NEWCOMER`.
        address: Where it was sent.
        code: As it was typed.

    Raises:
        ContactCodeRefusedError: permission_denied.
    """
    digest = ctx.use(CodeSeal).digest_digits(owner, address.key, code)
    guesses_max = ctx.use(RegistrationSettings).code_guesses_max

    async def guess(step: Context) -> bool:
        known = await contacts.find_code(step.tx, owner, address.key)
        if known is None or known.expires_at_ms <= step.now_ms:
            return False
        if known.wrong_guesses >= guesses_max:
            return False
        if hmac.compare_digest(known.digest, digest):
            return True
        await contacts.update_wrong_guess(step.tx, owner, address.key)
        return False

    if not await ctx.write(guess, outcome=None):
        raise _refused()
    return digest


async def insert_proven(
    step: Context, owner: str, member_id: str, address: Address, digest: str
) -> Contact:
    """Use a proven code up and give the address to a member, in one step.

    Raises:
        ContactCodeRefusedError: permission_denied. The code was used since, or the address
            was verified for another account.

    Emits:
        ContactVerified: once.
    """
    known = await contacts.find_code(step.tx, owner, address.key)
    # Sent where it was asked for first: another spelling of one mailbox proves that one.
    if known is None or not await contacts.delete_code(step.tx, owner, address.key, digest):
        raise _refused()
    contact = Contact(kind=address.kind, contact=known.address, verified_at_ms=step.now_ms)
    if not await contacts.insert_contact(step.tx, member_id, address.key, contact):
        raise _refused()
    step.emit(STREAM, ContactVerified(member_id=member_id, kind=address.kind))
    return contact


def _refused() -> ContactCodeRefusedError:
    """Return the one refusal for all that can be wrong with a code."""
    return ContactCodeRefusedError(remedy="have a new code sent")


async def _send_code(ctx: Context, owner: str, text: str) -> RequestedContact:
    """Send a code to an address, or the news that an account has it."""
    address, settings = check_address(text), ctx.use(RegistrationSettings)
    senders, seal = ctx.use(Senders), ctx.use(CodeSeal)
    if address.kind not in senders.kinds():
        kinds = " or ".join(senders.kinds())
        remedy = f"give an address of this kind: {kinds}" if kinds else "do without a contact"
        reason = f"this hall cannot send anything by {address.kind}"
        raise InvalidArgumentError("contact", reason, remedy)
    code, expires_at_ms = seal.make_digits(), ctx.now_ms + settings.code_life_ms
    digest = seal.digest_digits(owner, address.key, code)
    budgets = (
        Budget("messages", network_of(ctx.source), settings.messages_per_source_hour_max),
        Budget(
            "messages", seal.digest_address(address.key), settings.messages_per_contact_hour_max
        ),
        Budget("messages", "", settings.messages_per_hall_hour_max),
    )

    async def prepare(step: Context) -> bool:
        """Return whether a code is to be sent; both ways take the same steps."""
        if owner != NEWCOMER:
            await _check_count(step, owner)
        await spend_budgets(step, *budgets)
        is_taken = await contacts.find_contact_owner(step.tx, address.key) is not None
        known = ContactCode(address.text, digest, 0, expires_at_ms)
        if is_taken:
            # A code that nobody was told: so that guesses at it are answered as elsewhere.
            unknown = seal.digest_digits(owner, address.key, seal.make_digits())
            known = ContactCode(address.text, unknown, 0, expires_at_ms)
        await contacts.insert_code(step.tx, owner, address.key, known)
        return not is_taken

    is_free = await ctx.write(prepare)
    hall = _hall(ctx)
    subject = f"Your code for {hall}" if is_free else f"Your account at {hall}"
    message = _code_text(hall, code, settings.code_life_ms) if is_free else _taken_text(hall)
    await senders.send(address.kind, address.text, subject, message)
    return RequestedContact(contact=address.text, expires_at_ms=expires_at_ms)


async def _check_count(step: Context, member_id: str) -> None:
    """Refuse one contact too many."""
    most = step.use(RegistrationSettings).contacts_per_member_max
    if await contacts.count_contacts(step.tx, member_id) >= most:
        raise ContactLimitError(f"a member has at most {most} contacts", remedy="remove one first")


def _hall(ctx: Context) -> str:
    """Return what the hall is called in a message."""
    issuer = ctx.use(TokenIssuer).issuer
    return issuer if issuer.startswith("https://") else "this Moothall"


def _code_text(hall: str, code: str, life_ms: int) -> str:
    return (
        f"Your code is {code}\n\n"
        f"It is good for {life_ms // MINUTE_MS} minutes at {hall}. Somebody gave this address"
        " there. If it was not you, ignore this message and tell nobody the code.\n"
    )


def _taken_text(hall: str) -> str:
    return (
        f"Somebody gave this address at {hall} to make an account or to add it to one.\n\n"
        "It belongs to an account already, so no code was sent. If it was you, sign in to that"
        " account, or ask for a new password. If it was not you, ignore this message.\n"
    )
