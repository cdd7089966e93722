"""Bringing accounts along from another system, with their passwords."""

from typing import Annotated, NamedTuple

from msgspec import Meta

from moothall.action import FLOW, Context, PerActor, Request, Result, Signed, action
from moothall.core.errors import InvalidArgumentError
from moothall.ports.hasher import PasswordHasher
from moothall.services.identity.actions.members import ADDING
from moothall.services.identity.actions.passwords import check_new_password
from moothall.services.identity.events import STREAM, MemberRegistered
from moothall.services.identity.model import Member, PasswordSettings
from moothall.services.identity.rules.names import check_name
from moothall.services.identity.rules.passwords import find_fault_of_import, normalise_password
from moothall.services.identity.store import members

ROWS_MAX = 100
"""Each row costs one hash, and a call has half a minute."""

_TAKEN = "somebody has this name, or one that looks like it; they were left as they are"

# Without bounds of their own, so that one strange row does not refuse the others.
ImportedName = Annotated[str, Meta(max_length=1_024)]
ImportedPassword = Annotated[
    str,
    Meta(max_length=1_024, extra_json_schema={"format": "password", "writeOnly": True}),
]


class CredentialsRow(Request):
    """A name and its password, as they stood in the other system."""

    name: ImportedName
    password: ImportedPassword


class ImportCredentials(Request):
    """Accounts to be made, at most 100."""

    rows: Annotated[list[CredentialsRow], Meta(min_length=1, max_length=ROWS_MAX)]


class ImportedCredentials(Result):
    """A row that became an account."""

    row: int
    """Its place among the rows, from 0."""
    member_id: str
    is_weak: bool
    """Whether nobody could choose this password here; its member should change it."""


class RefusedCredentials(Result):
    """A row that did not, and why; passwords are never told."""

    row: int
    """Its place among the rows, from 0."""
    field: str
    reason: str


class CredentialsReport(Result):
    """What became of each row."""

    imported: list[ImportedCredentials]
    refused: list[RefusedCredentials]


class _Account(NamedTuple):
    """A row that may become an account, if its name is still free when they are made."""

    row: int
    name: str
    key: str
    is_weak: bool
    password_hash: str


@action(
    access=Signed("credentials:import"),
    effect=FLOW,
    limit=PerActor(calls=60, window_ms=60_000),
    raises=(),
    command="credentials import",
)
async def import_credentials(ctx: Context, request: ImportCredentials) -> CredentialsReport:
    """Make accounts from names and passwords in plain text, which are kept as hashes only.

    Passwords may hold any character that can be typed, and be weaker than one that is chosen
    here; which of them are is told. A row that cannot be used is reported and left out. An
    account that exists is never changed, so that repeating a call does no harm. All accounts
    of a call are made together or none is.

    Args:
        request.rows: Names as for registering (``register``), and passwords.

    Emits:
        MemberRegistered: once per account.
    """
    refused: list[RefusedCredentials] = []
    accounts: list[_Account] = []
    for number, row in enumerate(request.rows):
        prepared = await _prepare(ctx, number, row)
        if isinstance(prepared, RefusedCredentials):
            refused.append(prepared)
        else:
            accounts.append(prepared)

    async def insert(step: Context) -> tuple[list[ImportedCredentials], list[RefusedCredentials]]:
        await step.tx.lock(ADDING)
        imported, taken = [], []
        for account in accounts:
            member = Member(member_id=step.new_id(), name=account.name, created_at_ms=step.now_ms)
            if await members.insert_member(step.tx, member, account.key, account.password_hash):
                step.emit(STREAM, MemberRegistered(member_id=member.member_id))
                imported.append(
                    ImportedCredentials(
                        row=account.row, member_id=member.member_id, is_weak=account.is_weak
                    )
                )
            else:
                taken.append(RefusedCredentials(row=account.row, field="name", reason=_TAKEN))
        return imported, taken

    imported, taken = await ctx.write(insert)
    return CredentialsReport(
        imported=imported, refused=sorted([*refused, *taken], key=lambda one: one.row)
    )


async def _prepare(ctx: Context, number: int, row: CredentialsRow) -> _Account | RefusedCredentials:
    """Return the account of a row, its password hashed, or why there can be none."""
    try:
        name, key = check_name(row.name)
    except InvalidArgumentError as error:
        reason = str(error.details["reason"])
        return RefusedCredentials(row=number, field="name", reason=reason)
    password = normalise_password(row.password)
    if fault := find_fault_of_import(password, ctx.use(PasswordSettings)):
        return RefusedCredentials(row=number, field="password", reason=fault)
    # Before hashing: whoever repeats an import does not wait for hashes that nobody needs.
    if await ctx.read(lambda step: members.has_name(step.tx, name, key, step.now_ms)):
        return RefusedCredentials(row=number, field="name", reason=_TAKEN)
    # One after the other, so that those who sign in meanwhile find a thread that is free.
    password_hash = await ctx.use(PasswordHasher).hash(password)
    return _Account(
        row=number,
        name=name,
        key=key,
        is_weak=await _is_weak(ctx, password, name),
        password_hash=password_hash,
    )


async def _is_weak(ctx: Context, password: str, name: str) -> bool:
    """Tell whether nobody could choose this password here."""
    try:
        await check_new_password(ctx, password, name)
    except InvalidArgumentError:
        return True
    return False
