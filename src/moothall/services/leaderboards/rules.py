"""Decisions about boards: ids, keys of scores, levels, what counts."""

import math
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from moothall.core.errors import InvalidArgumentError
from moothall.core.ids import make_slug
from moothall.services.access.errors import GrantExceedsOwnError
from moothall.services.leaderboards.errors import (
    LevelTooHighError,
    LevelUnchangedError,
    MemberBannedError,
    NotAuthorError,
    NotSubmitterError,
    OwnLevelError,
)
from moothall.services.leaderboards.model import (
    LEVEL_PERMISSIONS,
    LEVEL_ROLES,
    Comment,
    Direction,
    Entry,
    Level,
    LevelTarget,
    SeasonRanking,
)

_SCALE = 2.0**64
"""Halves a sum's terms often enough that they cannot overflow; powers of two lose nothing."""

FUTURE_MS_MAX = 60_000
"""How far in the future an imported entry may lie, for clocks that differ."""

PROOF_NAME_LENGTH_MAX = 128
"""Characters that are kept of a file's name."""

_ORDER_MAX = 2**24 - 1
_ORDER_DIGITS, _DIGEST_DIGITS = 6, 13


def check_board_name(name: str) -> str:
    """Return the name without spaces around it.

    Raises:
        InvalidArgumentError: Nothing is left, or a character cannot be shown.
    """
    shown = name.strip()
    if not shown:
        raise InvalidArgumentError("name", "the name is empty", "give 1 to 64 characters")
    if not shown.isprintable():
        reason = "the name has a character that cannot be shown"
        raise InvalidArgumentError("name", reason, "leave out line breaks, tabs and the like")
    return shown


def choose_board_id(board_id: str | None, name: str) -> str:
    """Return the id that was asked for, or one made from the name.

    Raises:
        InvalidArgumentError: Nothing of the name can stand in an id.
    """
    chosen = board_id or make_slug(name)
    if not chosen:
        reason = "no id can be made from this name"
        raise InvalidArgumentError("board_id", reason, "give one: letters, digits, hyphens")
    return chosen


def key_of(score: float, direction: Direction) -> float:
    """Return the score as a key that is smaller for a better one.

    Adding zero turns -0.0 into 0.0, so that both are one place.
    """
    return (score if direction is Direction.ASCENDING else -score) + 0.0


def score_of(key: float, direction: Direction) -> float:
    """Return the score that :func:`key_of` turned into ``key``."""
    return key_of(key, direction)


def sum_keys(keys: Iterable[float]) -> float:
    """Return the correctly rounded sum, whatever the order, so that equal totals tie.

    A total beyond all numbers becomes the largest one: a ranking holds numbers only.
    """
    terms = list(keys)
    try:
        return math.fsum(terms) + 0.0
    except OverflowError:  # some partial sum, not always the total
        total = math.fsum(term / _SCALE for term in terms) * _SCALE
    return max(-sys.float_info.max, min(total, sys.float_info.max))


def check_score(score: float, field: str = "score") -> None:
    """Refuse what is no number.

    Raises:
        InvalidArgumentError: The score is infinite or not a number.
    """
    if not math.isfinite(score):
        raise InvalidArgumentError(field, "a score is a finite number", "give a finite number")


def check_time(submitted_at_ms: int, now_ms: int, field: str) -> None:
    """Refuse history from the future.

    Raises:
        InvalidArgumentError: The time is more than a minute ahead.
    """
    if submitted_at_ms > now_ms + FUTURE_MS_MAX:
        reason = "the time lies in the future"
        raise InvalidArgumentError(field, reason, "give UTC epoch milliseconds")


def level_of(may: Callable[[str, str], bool], path: str) -> Level:
    """Return the highest level whose permissions are held at ``path``."""
    held = Level.NONE
    for level, permissions in LEVEL_PERMISSIONS.items():
        if all(may(permission, path) for permission in permissions):
            held = level
    return held


def may_see(may: Callable[[str, str], bool], actor: str, entry: Entry) -> bool:
    """Tell whether a reader of the board sees an entry: verified ones, and one's own."""
    if entry.verified_at_ms is not None or entry.member_id == actor:
        return True
    return may("scores:moderate", f"board/{entry.board_id}")


def check_may_change(may: Callable[[str, str], bool], actor: str, entry: Entry) -> None:
    """Refuse whoever neither submitted an entry nor moderates its board.

    Raises:
        NotSubmitterError: It is somebody else's.
    """
    if entry.member_id != actor and not may("scores:moderate", f"board/{entry.board_id}"):
        raise NotSubmitterError


def check_may_remove_comment(
    may: Callable[[str, str], bool], actor: str, comment: Comment, entry: Entry
) -> None:
    """Refuse whoever neither wrote a comment nor moderates the board.

    Raises:
        NotAuthorError: Somebody else wrote it.
    """
    if comment.member_id != actor and not may("scores:moderate", f"board/{entry.board_id}"):
        raise NotAuthorError


def check_comment(text: str) -> str:
    """Return the text without spaces and empty lines around it.

    Raises:
        InvalidArgumentError: Nothing is left.
    """
    shown = text.strip()
    if not shown:
        raise InvalidArgumentError("text", "the comment is empty", "say something")
    return shown


def choose_proof_name(name: str) -> str:
    """Return what people are shown of a file's name: its last component, without tricks.

    No reader's machine makes a path of it, and nothing in it can be taken for one.

    Raises:
        InvalidArgumentError: Nothing is left.
    """
    last = name.replace("\\", "/").rstrip("/ ").rpartition("/")[2]
    shown = "".join(sign for sign in last if sign.isprintable()).strip(" .")
    shown = shown[:PROOF_NAME_LENGTH_MAX].rstrip()
    if not shown:
        raise InvalidArgumentError("name", "nothing of this name can be shown", "give another one")
    return shown


def check_level_change(
    may: Callable[[str, str], bool], actor: str, target: LevelTarget, level: Level
) -> None:
    """Refuse a level that the caller may not give to this member, or that they have already.

    Args:
        may: What the caller may.
        actor: The caller.
        target: Whose level it is, and where.
        level: The one that is wanted.

    Raises:
        MemberBannedError: It would not act.
        OwnLevelError: Nobody raises themselves.
        LevelTooHighError: The caller is a moderator and no administrator, and the level or
            the member is not below moderator.
        GrantExceedsOwnError: The caller lacks what the level, or the one before it, holds.
        LevelUnchangedError: The member has it already.
    """
    path = f"board/{target.board_id}"
    if target.is_banned:
        raise MemberBannedError(member_id=target.member_id, remedy="see access.list_bans")
    if target.member_id == actor and is_higher(level, target.level):
        raise OwnLevelError(remedy="ask another moderator or an administrator")
    if not may("roles:grant", path) and (target.is_moderator or level is Level.MODERATE):
        raise LevelTooHighError(member_id=target.member_id, remedy="ask an administrator")
    for one in (level, target.level):
        for permission in LEVEL_ROLES[one][1] if one is not Level.NONE else ():
            if not may(permission, path):
                reason = f"you do not hold {permission} there yourself"
                raise GrantExceedsOwnError(reason, permission=permission, path=path)
    if level is target.level:
        raise LevelUnchangedError(member_id=target.member_id, level=level)


def is_higher(one: Level, other: Level) -> bool:
    """Tell whether one level is above another."""
    return list(Level).index(one) > list(Level).index(other)


def higher_of(one: Level, other: Level) -> Level:
    """Return the higher of two levels."""
    return max(one, other, key=list(Level).index)


def make_imported_id(submitted_at_ms: int, row: int | None, *what: str) -> str:
    """Return the id of an imported entry: the same for the same row, whenever it comes.

    It has the form of all ids (``core/ids.py``): the time, then what is chance elsewhere and
    here a digest of what the row is. A row that has a number begins that with it, so that rows
    of one moment stand in their order (up to the 16,777,215th; the digest knows them all).

    Args:
        submitted_at_ms: UTC epoch milliseconds.
        row: Its number among others, or None where ``what`` alone tells it.
        what: Board, and what else tells the row from others.
    """
    if row is None:
        digest = blake2b("\0".join(what).encode(), digest_size=7).hexdigest()
        return f"{submitted_at_ms:011x}{digest[:_DIGEST_DIGITS]}"
    digest = blake2b("\0".join((*what, str(row))).encode(), digest_size=7).hexdigest()
    order = f"{min(row, _ORDER_MAX):0{_ORDER_DIGITS}x}"
    return f"{submitted_at_ms:011x}{order}{digest[: _DIGEST_DIGITS - _ORDER_DIGITS]}"


# --- Seasons --------------------------------------------------------------------------------------

_CRON_FIELDS = 5
_SCHEDULE_REMEDY = "give minute, hour, day, month and weekday, such as '0 0 * * MON'"


class Timetable(NamedTuple):
    """When seasons begin by themselves; nothing, where they do not."""

    schedule: str | None = None
    time_zone: str | None = None
    next_reset_at_ms: int | None = None


def next_reset_ms(schedule: str, time_zone: str, after_ms: int) -> int:
    """Return when a schedule is due next, UTC epoch milliseconds.

    As with Debian's cron: a time that the clock skips is due right after the gap, and one
    that the clock shows twice is due the first time; a ``*`` or a step follows real time.

    Raises:
        InvalidArgumentError: The schedule is none, or never due; there is no such zone.
    """
    try:
        zone = ZoneInfo(time_zone)
    except (LookupError, ValueError, OSError) as error:
        reason = f"there is no time zone {time_zone!r}"
        remedy = "give a name of the IANA data base, such as Europe/Berlin"
        raise InvalidArgumentError("time_zone", reason, remedy) from error
    if len(schedule.split()) != _CRON_FIELDS:
        reason = "a schedule has five fields, as in cron"
        raise InvalidArgumentError("schedule", reason, _SCHEDULE_REMEDY)
    try:
        for tick in CronSim(schedule, datetime.fromtimestamp(after_ms / 1_000, zone)):
            due_ms = int(tick.timestamp()) * 1_000
            if due_ms > after_ms:  # not so in the hour that the clock shows twice
                return due_ms
    except (CronSimError, ValueError, OverflowError) as error:
        reason = f"cron does not understand {schedule!r}: {error}"
        raise InvalidArgumentError("schedule", reason, _SCHEDULE_REMEDY) from error
    reason = "no day of the next 50 years fits this schedule"
    raise InvalidArgumentError("schedule", reason, _SCHEDULE_REMEDY)


def choose_timetable(
    before: Timetable, schedule: str | None, time_zone: str | None, now_ms: int
) -> Timetable:
    """Return the timetable after a change.

    Args:
        before: As it stands.
        schedule: None leaves it, an empty text takes it away.
        time_zone: None leaves it; where there is none yet, it is UTC.
        now_ms: From when on.

    Raises:
        InvalidArgumentError: The schedule is none, or never due; there is no such zone, or
            nothing that needs one.
    """
    if schedule is None and time_zone is None:
        return before
    chosen = before.schedule if schedule is None else schedule.strip()
    if not chosen:
        if time_zone is not None:
            reason = "a time zone belongs to a schedule, and there is none"
            raise InvalidArgumentError("time_zone", reason, "give a schedule, or leave it out")
        return Timetable()
    zone = time_zone or before.time_zone or "UTC"
    return Timetable(chosen, zone, next_reset_ms(chosen, zone, now_ms))


def ranking_id_of(board_id: str, season: int) -> str:
    """Return the id of a season's first ranking; the board's own in the first season."""
    return board_id if season == 1 else f"{board_id}@{season}"


def next_ranking_id(ranking: SeasonRanking) -> str:
    """Return the id of the ranking that will replace one: ``<board>@<season>.<generation>``."""
    stem = f"{ranking.board_id}@{ranking.season}."
    _, found, generation = ranking.ranking_id.rpartition(stem)
    return f"{stem}{int(generation) + 1 if found else 1}"
