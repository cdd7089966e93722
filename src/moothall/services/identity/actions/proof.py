"""Fresh proof: whoever calls knows the password, asked within the budget of guesses.

Every action that takes a password of an existing account takes it here, so that there is no
second place to guess at. The road has three steps, each of its own, and their order is what
makes the number of guesses exact (R7):

1. A guess is reserved and durable before the password is looked at. The last one that is
   allowed locks the account at once, so a parallel burst and a crash find the lock.
2. The password is hashed, outside of any transaction.
3. The deed and :func:`accept` commit together: the guesses are forgotten, unless the password
   was changed meanwhile.

A guess is under way from its reservation to the end of the ``async with`` in which the deed is
done. Whoever finds the account locked while others are under way waits for them, because one
of them may be right (``adapters/guesses.py``).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from moothall.action import Context
from moothall.core.errors import OverloadedError
from moothall.ports.hasher import PasswordHasher
from moothall.services.identity.adapters.guesses import GuessesUnderWay, Turn
from moothall.services.identity.adapters.lockout import (
    LockWatch,
    MemberLocks,
    UnknownLocks,
    UnknownNames,
)
from moothall.services.identity.errors import WrongCredentialsError
from moothall.services.identity.model import Guesses, KnownPassword, LockoutSettings, Member
from moothall.services.identity.rules.lockout import (
    check_is_not_locked,
    count_guess,
    lock_left_ms,
)
from moothall.services.identity.rules.names import find_key
from moothall.services.identity.rules.passwords import normalise_password
from moothall.services.identity.store import lockout, members, passwords
from moothall.services.identity.store.lockout import Kept

Find = Callable[[Context], Awaitable[KnownPassword]]


@dataclass(frozen=True, slots=True)
class Guess:
    """A guess that is reserved and durable; or, with ``left_ms``, one that was refused."""

    kept: Kept
    key: str
    known: KnownPassword = field(repr=False)
    guesses: Guesses | None
    left_ms: int
    series: str
    """Of the guesses that it is one of, or that have set the lock."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The password was right. It counts once :func:`accept` has committed."""

    member: Member
    guess: Guess
    password_hash: str = field(repr=False)
    renewed: str | None = field(repr=False)
    """The hash with today's parameters, if it was made with others."""


@asynccontextmanager
async def prove_by_name(ctx: Context, name: str, password: str) -> AsyncIterator[Proof]:
    """Give the proof that ``password`` is the one of the member called ``name``.

    The guess is under way until the context ends, so the deed is done inside of it.
    A name that nobody has is counted, locked and answered as any other, in the same time.

    Args:
        ctx: A FLOW; its audit row will name the member whose account it was.
        name: As it was written.
        password: As it was typed.

    Raises:
        AccountLockedError: failed_precondition. Nothing was looked at; ``retry_after_ms``.
        WrongCredentialsError: unauthenticated. If that locked the account,
            ``retry_after_ms`` says for how long.
    """
    key = find_key(name)
    digest = ctx.use(UnknownNames).digest(name, key)
    with _take_turn(ctx) as turn:
        yield await _prove(
            ctx,
            lambda step: passwords.find_password_by_name(step.tx, key or ""),
            digest,
            password,
            turn,
        )


@asynccontextmanager
async def prove_own(ctx: Context, password: str) -> AsyncIterator[Proof]:
    """Give the proof that ``password`` is the caller's own; the deed is done inside the context.

    Raises:
        AccountLockedError: failed_precondition. Nothing was looked at; ``retry_after_ms``.
        WrongCredentialsError: unauthenticated. If that locked the account,
            ``retry_after_ms`` says for how long.
    """
    actor = ctx.actor
    digest = ctx.use(UnknownNames).digest(actor, None)
    with _take_turn(ctx) as turn:
        yield await _prove(
            ctx, lambda step: passwords.find_password(step.tx, actor), digest, password, turn
        )


async def accept(step: Context, proof: Proof) -> None:
    """Forget the guesses of a member who proved the password, in the step of the deed.

    Raises:
        WrongCredentialsError: unauthenticated. The password was changed, or the account
            removed, since it was looked at.
    """
    member_id = proof.member.member_id
    now = await passwords.find_password(step.tx, member_id)
    if now.member is None or now.version != proof.guess.known.version:
        raise WrongCredentialsError
    await lockout.delete_guesses(step.tx, member_id)
    if proof.renewed is not None:
        await members.update_password_hash(step.tx, member_id, proof.password_hash, proof.renewed)


async def give_back(ctx: Context, guess: Guess) -> None:
    """Give back a guess that was right or never looked at, when the deed could not be done."""
    if guess.guesses is None:
        return

    async def step(step: Context) -> None:
        await lockout.update_guess_taken_back(step.tx, guess.kept, guess.key, guess.series)

    await ctx.write(step, outcome=None)


@contextmanager
def _take_turn(ctx: Context) -> Iterator[Turn]:
    """Give a guess its turn, which is over when the deed is done or cannot be."""
    turn = Turn(ctx.use(GuessesUnderWay), ctx.use(LockoutSettings).wait_ms_max)
    try:
        yield turn
    finally:
        turn.end()


async def _prove(ctx: Context, find: Find, digest: str, password: str, turn: Turn) -> Proof:
    """Reserve a guess, then look at the password."""
    hasher, password = ctx.use(PasswordHasher), normalise_password(password)

    async def reserve(step: Context) -> Guess:
        return await _reserve(step, find, digest, turn)

    guess = await _write_whole(ctx, reserve)
    while guess.left_ms > 0 and await turn.wait(guess.key, guess.series):
        guess = await _write_whole(ctx, reserve)
    check_is_not_locked(guess.left_ms)
    known = guess.known
    try:
        is_right = await hasher.verify(known.password_hash, password)
    except OverloadedError:
        # Nobody looked at it, and whoever comes again must not find the account locked.
        await give_back(ctx, guess)
        raise
    except asyncio.CancelledError:
        # Cut off by its deadline before there was an answer, so nobody learns one; whoever has
        # little patience must not lock their own account.
        await give_back(ctx, guess)
        raise
    if not is_right or known.member is None or known.password_hash is None:
        raise _wrong(ctx, guess)
    renewed = None
    if hasher.is_outdated(known.password_hash):
        try:
            renewed = await hasher.hash(password)
        except OverloadedError:
            renewed = None  # The next sign-in may find time for it.
    return Proof(known.member, guess, known.password_hash, renewed)


async def _write_whole(ctx: Context, reserve: Callable[[Context], Awaitable[Guess]]) -> Guess:
    """Reserve a guess; give it back if the call is cut off before that is known to be durable."""
    writing = asyncio.ensure_future(ctx.write(reserve, outcome=None))
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        # The commit goes on, and nobody will look at the password.
        await give_back(ctx, await writing)
        raise


async def _reserve(step: Context, find: Find, digest: str, turn: Turn) -> Guess:
    """Count a guess before it is looked at; refuse it if the account is locked."""
    known = await find(step)
    kept, key, watch = Kept.UNKNOWN, digest, _watch(step, Kept.UNKNOWN)
    if known.member is not None:
        kept, key = Kept.MEMBER, known.member.member_id
        watch = _watch(step, kept)
        step.concern(path=f"member/{key}")
    settings = step.use(LockoutSettings)
    before = await lockout.take_guesses(step.tx, kept, key, step.now_ms)
    # Again, now that it is this guess's turn: the one before may have changed the password.
    known = await find(step)
    if known.member is None or known.member.member_id != key:
        known = KnownPassword()
    if before is None:
        await _count_name(step, kept, key)
    left_ms = lock_left_ms(before, step.now_ms, settings.duration_ms)
    if before is not None and before.locked_until_ms > 0:
        left_ms = watch.left_ms(key, before, left_ms)
    if before is not None and left_ms > 0:
        return Guess(kept, key, KnownPassword(), None, left_ms, before.series)
    guesses = count_guess(before, step.new_id(), step.now_ms, settings)
    await lockout.update_guesses(step.tx, kept, key, guesses)
    if guesses.locked_until_ms > 0:
        step.tx.on_commit(lambda: watch.begin(key, guesses, settings.duration_ms))
        step.tx.on_commit(lambda: turn.note_lock(guesses.series))
    # Before anybody whom it locked out is answered, so that they see it under way.
    step.tx.on_commit(lambda: turn.begin(key))
    return Guess(kept, key, known, guesses, 0, guesses.series)


async def _count_name(step: Context, kept: Kept, key: str) -> None:
    """Count a name that nobody has, at its first guess; known ones take as many statements."""
    if kept is Kept.UNKNOWN:
        names_max = step.use(LockoutSettings).unknown_names_max
        await lockout.delete_surplus_names(step.tx, names_max, step.now_ms, key)
    else:
        await lockout.get_names_count(step.tx)


def _watch(step: Context, kept: Kept) -> LockWatch:
    """Return the steady clocks of the locks of members, or of names that nobody has."""
    return step.use(MemberLocks) if kept is Kept.MEMBER else step.use(UnknownLocks)


def _wrong(ctx: Context, guess: Guess) -> WrongCredentialsError:
    """Return the refusal of a wrong password, which tells if it was the last one."""
    if guess.guesses is None or guess.guesses.locked_until_ms == 0:
        return WrongCredentialsError()
    settings = ctx.use(LockoutSettings)
    return WrongCredentialsError(
        f"that was wrong, and number {settings.attempts_max} in a row: the account is locked now",
        retry_after_ms=settings.duration_ms,
    )
