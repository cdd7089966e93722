"""Signed heads: how far the audit trail had come, told where the database cannot reach.

A head is one line of JSON. It is signed with Ed25519 (RFC 8032), so that whoever keeps the
public key can check a copy of it without the hall and without any secret. It counts the heads
before it, so that a line that was taken away is missed.

Whoever edits this file: lines that were written by an older release must still be genuine.
"""

from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from moothall.services.access.errors import AuditBrokenError
from moothall.services.access.model import Head, Seal
from moothall.services.access.rules.chain import broken, tags_of

_HEAD = "moothall audit head 1"

_encode = msgspec.json.encode
_decoder = msgspec.json.Decoder(Head)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the heads have been checked: the count of the last one, and its row."""

    head: int = 0
    number: int = 0


def public_hex(key: Ed25519PublicKey) -> str:
    """Return a public key as heads carry it."""
    return key.public_bytes_raw().hex()


def sign_head(key: Ed25519PrivateKey, seal: Seal, *, head: int, at_ms: int, hall: str) -> Head:
    """Return the head that vouches for all rows up to the last one of ``seal``."""
    unsigned = Head(
        head=head,
        number=seal.last_number,
        chain=seal.chain.hex(),
        sealed_at_ms=seal.sealed_at_ms,
        at_ms=at_ms,
        hall=hall,
        public_key=public_hex(key.public_key()),
    )
    return msgspec.structs.replace(unsigned, signature=key.sign(signed_bytes(unsigned)).hex())


def signed_bytes(head: Head) -> bytes:
    """Return what is signed: a JSON array without blanks."""
    return _encode(
        (_HEAD, head.head, head.number, head.chain, head.sealed_at_ms, head.at_ms, head.hall)
    )


def write_head(head: Head) -> str:
    """Return a head as a line."""
    return _encode(head).decode()


def read_head(line: str) -> Head | None:
    """Return the head in a line; None if it is torn, as a power cut may leave it."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None


def is_signed(key: Ed25519PublicKey, head: Head) -> bool:
    """Tell whether a head was signed with the private half of ``key``."""
    try:
        key.verify(bytes.fromhex(head.signature), signed_bytes(head))
    except (InvalidSignature, ValueError):
        return False
    return head.public_key == public_hex(key)


def check_head(key: Ed25519PublicKey, before: Mark, head: Head) -> Mark:
    """Refuse a head that is not signed, or does not follow the one before it.

    Raises:
        AuditBrokenError: failed_precondition. With the first row that nobody vouches for.
    """
    number, expected = before.number + 1, before.head + 1
    if not is_signed(key, head):
        raise broken("head_forged", number, f"head {expected} is forged", head=expected)
    if head.head > expected:
        raise broken("head_missing", number, f"head {expected} was removed", head=expected)
    if head.head < expected:
        raise broken("head_forged", number, f"head {head.head} is there twice", head=head.head)
    return Mark(head.head, head.number)


def check_head_agrees(before: Mark, head: Head, seal: Seal) -> None:
    """Refuse a genuine seal that is not the one of which ``head`` tells.

    The head may stand at any row of it: seals that were removed are made anew over the same
    rows, but maybe with other bounds.

    Raises:
        AuditBrokenError: failed_precondition. With the first row that may be wrong.
    """
    is_last = head.number == seal.last_number
    tags = dict(tags_of(seal))
    if tags.get(head.number) == bytes.fromhex(head.chain)[:8] and (
        not is_last or head.chain == seal.chain.hex()
    ):
        return
    # The rows that the head before vouches for are whole, so it is one of those after it.
    first = min(before.number + 1, head.number)
    raise broken(
        "altered",
        first,
        f"rows {first} to {head.number} are not those that head {head.head} tells of",
        head=head.head,
        until_number=head.number,
    )


def check_heads_reach(before: Mark, head_count: int) -> None:
    """Refuse a file of heads that ends before the database says.

    Raises:
        AuditBrokenError: failed_precondition. With the first row that nobody vouches for.
    """
    if before.head < head_count:
        reason = f"of {head_count} heads that were written, {before.head} are there"
        raise broken("head_missing", before.number + 1, reason, head=before.head + 1)


def unreached(last_number: int, head: Head, *, has_row: bool) -> AuditBrokenError:
    """Return what is wrong where the seals end at ``last_number``, before the row of a head.

    ``has_row`` says whether the row after the last seal is there.
    """
    first = min(last_number + 1, head.number)
    told = f"head {head.head} tells of rows up to {head.number}"
    if has_row:
        reason = f"{told}; the seal over row {first} was removed"
        return broken("seal_missing", first, reason, head=head.head)
    reason = f"{told}; row {first} and those after it were removed"
    return broken("truncated", first, reason, head=head.head)
