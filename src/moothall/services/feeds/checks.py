"""What must hold of events and of where readers stand."""

from moothall.action import Finding, Inspection, check, list_unswept
from moothall.services.feeds.model import EventSettings


@check()
async def swept(given: Inspection) -> list[Finding]:
    """Events and positions past their time are swept."""
    before_ms = given.now_ms - given.resources.use(EventSettings).retention_ms
    # Events go in the order of their cursors, so the first one tells of all.
    events = """
    SELECT count(*) FROM (SELECT at_ms FROM action_event ORDER BY cursor LIMIT 1) AS oldest
    WHERE at_ms < $1
    """
    positions = "SELECT count(*) FROM feeds_position WHERE acknowledged_at_ms < $1"
    return [
        *await list_unswept(given.tx, events, before_ms, "events (or more)"),
        *await list_unswept(given.tx, positions, before_ms, "positions"),
    ]
