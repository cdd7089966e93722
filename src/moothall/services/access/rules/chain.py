"""The chain over the audit trail: what a seal says of its rows, and whether they still agree.

Rows are sealed in segments. The chain value after row *i* is

    h(i) = HMAC-SHA-256(chain key, h(i-1) || canonical bytes of row i)

and begins with the HMAC of a constant, because the key is the hall's own already, and its
name may change. A seal keeps the value after its last row whole, and of every row the number
and the first eight bytes of the value after it, so that the first row that was altered is
known by its number without each row being written twice. A code over the seal itself, under
another key, tells an altered seal from an altered row.

Whoever edits this file: a trail that was sealed by an older release must still agree. So
neither the canonical bytes nor the layout of a seal may change; a new one needs a new name.
"""

import hmac
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from struct import Struct

import msgspec

from moothall.services.access.errors import AuditBrokenError
from moothall.services.access.model import AuditEntry, Seal

SEAL_ROWS_MAX = 250
"""Rows of one seal, and of one step of whoever seals or verifies: about 2 ms of the loop."""

_BEGINNING = b"moothall audit chain 1"
_SEAL = b"moothall audit seal 1"

_tag = Struct(">Q8s")
"""Of each row: its number less that of the row before, and eight bytes of the chain."""

_REMEDY = "keep a copy of everything as it is now; then compare with a backup"

_number_of = attrgetter("number")
_encode = msgspec.json.encode
_FORM = (int, int, str, str, str, str, str, str)


@dataclass(frozen=True, slots=True)
class TrailKeys:
    """The keys of the trail, derived from the sealing key; 32 bytes each."""

    chain: bytes
    seal: bytes

    def __repr__(self) -> str:
        """Show no key."""
        return "TrailKeys(...)"


@dataclass(frozen=True, slots=True)
class Link:
    """Where the chain stands after a row.

    Attributes:
        number: Of the row; 0 before the first one.
        chain: The chain value after it, 32 bytes.
        latest_at_ms: The greatest time of all rows so far, which never falls.
    """

    number: int
    chain: bytes
    latest_at_ms: int


def first_link(keys: TrailKeys) -> Link:
    """Return where the chain begins."""
    return Link(0, hmac.digest(keys.chain, _BEGINNING, "sha256"), 0)


def link_after(seal: Seal) -> Link:
    """Return where the chain stands after a seal's last row, as the seal says."""
    return Link(seal.last_number, seal.chain, seal.latest_at_ms)


def canonical(row: AuditEntry) -> bytes:
    """Return the bytes of a row, different for rows that differ in anything.

    A JSON array of its fields. A value of another type (SQLite keeps what it is given) is
    written with its type, so that it is never taken for the text that it looks like.
    """
    values = (
        row.number,
        row.at_ms,
        row.actor,
        row.action,
        row.path,
        row.outcome,
        row.source,
        row.request_id,
    )
    if tuple(map(type, values)) == _FORM:
        return _encode(values)
    return _encode([[type(value).__name__, repr(value)] for value in values])


def make_seal(keys: TrailKeys, before: Link, rows: Sequence[AuditEntry], sealed_at_ms: int) -> Seal:
    """Return the seal of ``rows``, which are 1 to 250 and follow ``before`` in their order."""
    number, value, latest_at_ms = before.number, before.chain, before.latest_at_ms
    code = hmac.new(keys.chain, digestmod="sha256")
    tags = []
    for row in rows:
        value = _extend(code, value, row)
        tags.append(_tag.pack(row.number - number, value))
        number = row.number
        if type(row.at_ms) is int:
            latest_at_ms = max(latest_at_ms, row.at_ms)
    seal = Seal(
        after_number=before.number,
        last_number=number,
        row_count=len(rows),
        latest_at_ms=latest_at_ms,
        sealed_at_ms=sealed_at_ms,
        chain=value,
        tags=b"".join(tags),
        mac=b"",
    )
    return msgspec.structs.replace(seal, mac=_mac(keys, seal))


def is_genuine(keys: TrailKeys, seal: Seal) -> bool:
    """Tell whether a seal is as it was made."""
    return hmac.compare_digest(seal.mac, _mac(keys, seal))


def check_seal(keys: TrailKeys, before: Link, seal: Seal, rows: Sequence[AuditEntry]) -> Link:
    """Refuse a seal that does not follow ``before``, or rows that are not those it was made of.

    Args:
        keys: The keys of the trail.
        before: Where the chain stands.
        seal: The next seal.
        rows: The rows that are there after ``before`` and up to the seal's last number, by
            number; before the first seal, all that are there.

    Returns:
        Where the chain stands after the seal.

    Raises:
        AuditBrokenError: failed_precondition. With the first number that is wrong.
    """
    first = before.number + 1
    if not is_genuine(keys, seal):
        raise broken("seal_altered", first, f"the seal over row {first} was altered")
    if seal.after_number != before.number:
        raise broken("seal_missing", first, f"the seal over row {first} was removed")
    present = iter(rows)
    row = next(present, None)
    code, value = hmac.new(keys.chain, digestmod="sha256"), before.chain
    for number, tag in tags_of(seal):
        if row is None or row.number > number:
            raise broken("missing", number, f"row {number} was removed")
        if row.number < number:
            reason = f"row {row.number} was added behind the hall's back"
            raise broken("inserted", row.number, reason)
        value = _extend(code, value, row)
        if value[:8] != tag:
            raise broken("altered", number, f"row {number} was altered")
        row = next(present, None)
    # The last tag is that of the last number, so no row is left.
    return link_after(seal)


def check_seals(
    keys: TrailKeys, before: Link, seals: Iterable[Seal], rows: Sequence[AuditEntry]
) -> Link:
    """Check seals that follow each other, as :func:`check_seal` does each.

    Args:
        keys: The keys of the trail.
        before: Where the chain stands.
        seals: The next ones, in their order.
        rows: Those that are there up to the last number of the last one, by number.

    Returns:
        Where the chain stands after them.

    Raises:
        AuditBrokenError: failed_precondition. With the first number that is wrong.
    """
    start = 0
    for seal in seals:
        end = bisect_right(rows, seal.last_number, lo=start, key=_number_of)
        before = check_seal(keys, before, seal, rows[start:end])
        start = end
    return before


def tags_of(seal: Seal) -> Iterator[tuple[int, bytes]]:
    """Yield number and tag of each row of a genuine seal."""
    number = seal.after_number
    for delta, value in _tag.iter_unpack(seal.tags):
        number += delta
        yield number, value


def broken(fault: str, number: int, reason: str, **details: object) -> AuditBrokenError:
    """Return what is wrong with the trail, first of all."""
    return AuditBrokenError(reason, number=number, fault=fault, remedy=_REMEDY, **details)


def _extend(code: "hmac.HMAC", value: bytes, row: AuditEntry) -> bytes:
    """Return the chain value after ``row``; a copy of the keyed code saves making it anew."""
    link = code.copy()
    link.update(value + canonical(row))
    return link.digest()


def _mac(keys: TrailKeys, seal: Seal) -> bytes:
    """Return the code over a seal."""
    values = (
        seal.after_number,
        seal.last_number,
        seal.row_count,
        seal.latest_at_ms,
        seal.sealed_at_ms,
        seal.chain.hex(),
        seal.tags.hex(),
    )
    return hmac.digest(keys.seal, _SEAL + _encode(values), "sha256")
