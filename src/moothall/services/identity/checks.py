"""What must hold of accounts, sessions and signing keys."""

from moothall.action import Finding, Inspection, Level, check, list_unequal, list_unswept
from moothall.core.errors import ConfigurationError
from moothall.core.units import DAY_MS, HOUR_MS
from moothall.services.identity.adapters.keys import SealedKeyRing
from moothall.services.identity.model import SessionSettings
from moothall.services.identity.rules.keys import choose_current
from moothall.services.identity.store import keys

_RESTORE = "restore a backup; until then the bound on it counts wrongly"
_COUNTED = """
SELECT counted, found FROM (SELECT
  (SELECT {column} FROM {counter} WHERE id = 1) AS counted,
  (SELECT count(*) FROM {table}) AS found) AS compared
WHERE counted IS NULL OR counted <> found
"""
_SESSIONS = _COUNTED.format(
    column="open",
    counter="identity_session_count",
    table="identity_session WHERE ended_at_ms IS NULL",
)
_NAMES = _COUNTED.format(
    column="names", counter="identity_unknown_name_count", table="identity_unknown_name"
)


@check(proves_key=True)
async def sealing_key(given: Inspection) -> list[Finding]:
    """The sealing key opens the signing keys."""
    resources = given.resources
    ring = SealedKeyRing(resources.derive_key("signing keys"), resources.entropy, resources.clock)
    try:
        # Columns that every release has, because the rows may be an older one's.
        for kid, sealed in await keys.list_sealed_parts(given.tx):
            ring.open_sealed(kid, sealed)
    except ConfigurationError as error:
        return [Finding(str(error), "put the sealing.key of this hall back, from its own backup")]
    return []


@check()
async def signing_keys(given: Inspection) -> list[Finding]:
    """One key signs, and its time has come."""
    if given.resources.is_follower:
        return []
    published = await keys.list_published(given.tx)
    if not published:
        return [Finding("no key signs", "start the hall; it makes one")]
    current = choose_current(published, given.now_ms)
    if current.begins_at_ms > given.now_ms:
        told = f"key {current.kid} signs, and its time comes only later"
        return [Finding(told, "look at this machine's clock", Level.WARNING)]
    return []


@check()
async def session_count(given: Inspection) -> list[Finding]:
    """As many sessions are open as are counted."""
    told = "{0} open sessions are counted and {1} are there"
    return await list_unequal(given.tx, _SESSIONS, told, _RESTORE)


@check()
async def unknown_name_count(given: Inspection) -> list[Finding]:
    """As many guesses at unknown names are kept as are counted."""
    told = "{0} unknown names are counted and {1} are there"
    return await list_unequal(given.tx, _NAMES, told, _RESTORE)


@check()
async def swept(given: Inspection) -> list[Finding]:
    """Sessions, codes and budgets that are over are swept."""
    if given.resources.is_follower:
        return []
    dead_ms = given.now_ms - given.resources.use(SessionSettings).swept_after_ms
    sessions = "SELECT count(*) FROM identity_session WHERE ended_at_ms < $1"
    codes = "SELECT count(*) FROM identity_contact_code WHERE expires_at_ms < $1"
    recovery = "SELECT count(*) FROM identity_recovery WHERE expires_at_ms < $1"
    budgets = f"SELECT count(*) FROM identity_budget WHERE (hour + 1) * {HOUR_MS} < $1"
    return [
        *await list_unswept(given.tx, sessions, dead_ms, "sessions"),
        *await list_unswept(given.tx, codes, given.now_ms, "codes"),
        *await list_unswept(given.tx, recovery, given.now_ms - DAY_MS, "recovery codes"),
        *await list_unswept(given.tx, budgets, given.now_ms, "budgets"),
    ]
