"""What members hold: bindings, teams and bans, by their keys and in one statement."""

from collections.abc import Iterable, Sequence

from moothall.action.blocks import fetch_among
from moothall.ports.database import Row, Transaction
from moothall.services.access.model import Held

_AMONG = "IN ({values})"
_LIST = f"""
SELECT subject, 0, role, path, CAST(NULL AS BIGINT) FROM access_binding WHERE subject {_AMONG}
UNION ALL SELECT member_id, 1, team, '', NULL FROM access_team_member WHERE member_id {_AMONG}
UNION ALL SELECT member_id, 2, '', path, until_ms FROM access_ban WHERE member_id {_AMONG}
"""
_FIND = _LIST.replace(_AMONG, "= $1")
_BINDING, _TEAM = 0, 1


async def find_held(tx: Transaction, member_id: str) -> Held:
    """Return what is bound to a member, with their teams and bans; nothing for a stranger."""
    return _fold(await tx.fetch_all(_FIND, member_id))


async def list_held(tx: Transaction, member_ids: Sequence[str]) -> dict[str, Held]:
    """Return the same for several members, each once."""
    rows_of: dict[str, list[Row]] = {member_id: [] for member_id in member_ids}
    if member_ids:
        for row in await fetch_among(tx, _LIST, list(rows_of)):
            rows_of[row[0]].append(row)
    return {member_id: _fold(rows) for member_id, rows in rows_of.items()}


def _fold(rows: Iterable[Row]) -> Held:
    """Return what the rows of one member tell."""
    bindings, teams, bans = [], [], {}
    for _, kind, name, path, until_ms in rows:
        if kind == _BINDING:
            bindings.append((name, path))
        elif kind == _TEAM:
            teams.append(name)
        else:
            bans[path] = until_ms
    return Held(bindings=tuple(bindings), teams=tuple(teams), bans=bans)
