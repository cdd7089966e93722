"""What every hall does whose rows came back, from a backup or by the server's own tools.

The rows are as they were, and know nothing of what must not come back with them. So they get a
new epoch and each room does its part, before any door opens (decision 0014).
"""

from moothall.action.catalog import Room
from moothall.action.context import Context
from moothall.action.jobs import EVERY_MS_MIN, Job, JobRunner, SoleHolder
from moothall.action.restore import AfterRestore, Restored, renew_epoch
from moothall.app.compose import Hall, open_hall
from moothall.app.config import Settings
from moothall.app.place import keep_place
from moothall.app.world import SystemEntropy
from moothall.core.errors import ConfigurationError
from moothall.ports.audit import AuditRow

OPERATOR = "operator"
"""Who restores, in the audit trail: whoever has the machine; no member's id is that short."""

CONSOLE = "console"
ACTION = "hall.restore"


def make_epoch() -> str:
    """Return the name of a new epoch, which no other has."""
    return SystemEntropy().random_bytes(4).hex()


async def settle(
    settings: Settings,
    epoch: str,
    *,
    backup_id: str,
    taken_at_ms: int,
    path: str,
    keeps_sessions: bool,
    adopts: bool = False,
) -> None:
    """Open the hall without doors, and let nothing come back that must not.

    Args:
        settings: Of the hall.
        epoch: In which its cursors are written from now on.
        backup_id: What the rooms are told of the backup.
        taken_at_ms: When the rows were as they are, in UTC epoch milliseconds.
        path: From what it was restored, as the audit trail names it.
        keeps_sessions: Leave members signed in as they were.
        adopts: The rows lie in a database whose own tools brought them back.

    Raises:
        ConfigurationError: The hall cannot be opened, or a room failed; its name is told.
    """
    hall = await open_hall(settings, on_sync_failure=lambda _error: None, adopts=adopts)
    try:
        before = await hall.database.write(lambda tx: renew_epoch(tx, epoch))
        restored = Restored(
            backup_id=backup_id,
            taken_at_ms=taken_at_ms,
            epoch_before=before,
            epoch=epoch,
            keeps_sessions=keeps_sessions,
        )
        await _let_go(hall, restored, path)
        if adopts:
            await hall.database.write(keep_place)
    finally:
        await hall.close()


async def _let_go(hall: Hall, restored: Restored, path: str) -> None:
    """Let nothing come back that must not, and leave a row of it in the audit trail.

    Args:
        hall: It is open and has no doors; its epoch is the new one.
        restored: What the rooms are told.
        path: From what it was restored, as the audit trail names it.

    Raises:
        ConfigurationError: A room failed; its name is told.
    """
    row = AuditRow(
        at_ms=hall.house.clock.now_ms(),
        actor=OPERATOR,
        action=ACTION,
        path=path,
        outcome="done",
        source=CONSOLE,
        request_id="",
    )
    await hall.database.write(lambda tx: hall.house.audit.append(tx, row))
    await _run_all(hall, restored)
    # So that the row of the restore is sealed and vouched for before anybody sees it.
    for name in ("access.seal_audit", "access.publish_head"):
        await hall.jobs.run(name, is_sole=True)


async def _run_all(hall: Hall, restored: Restored) -> None:
    """Let each room do its part, as a job of its own.

    Raises:
        ConfigurationError: A room failed; its name is told.
    """

    def as_job(room: Room, work: AfterRestore) -> Job:
        async def handler(ctx: Context) -> None:
            await work(ctx, restored)

        return Job(room.name, f"{room.name}.after_restore", EVERY_MS_MIN, handler)

    rooms = hall.catalog.rooms.values()
    jobs = [as_job(room, room.after_restore) for room in rooms if room.after_restore is not None]
    runner = JobRunner(hall.house, jobs, SoleHolder())
    for each in jobs:
        try:
            await runner.run(each.name)
        except Exception as error:
            msg = (
                f"room {each.room!r} could not let go of what must not come back: "
                f"{type(error).__name__}: {error}; the hall must not be served so; mend its "
                "restore.py, or leave it out of the settings (rooms), and run this again"
            )
            raise ConfigurationError(msg) from error
