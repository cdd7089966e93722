"""What the files room knows."""

from typing import Annotated

import msgspec
from msgspec import Meta

from moothall.action import Result, RoomSettings
from moothall.core.units import DAY_MS, HOUR_MS, MEBIBYTE, MINUTE_MS

GIBIBYTE = 1_024 * MEBIBYTE


class FileSettings(RoomSettings):
    """Table ``[files]``: how large files may be, how many, and how long they stay."""

    size_bytes_max: Annotated[int, Meta(ge=1, le=GIBIBYTE)] = 16 * MEBIBYTE
    """Size of one file, in bytes."""
    member_bytes_max: Annotated[int, Meta(ge=1, le=1_024 * GIBIBYTE)] = 256 * MEBIBYTE
    """What one member may have uploaded, in bytes; finished or not, shared with others or not."""
    hall_bytes_max: Annotated[int, Meta(ge=1, le=1_048_576 * GIBIBYTE)] = 16 * GIBIBYTE
    """What all files may take in the database, in bytes."""
    uploads_per_member_max: Annotated[int, Meta(ge=1, le=10_000)] = 500
    """How many files one member may have uploaded, finished or not."""
    unheld_kept_ms: Annotated[int, Meta(ge=MINUTE_MS, le=365 * DAY_MS)] = 24 * HOUR_MS
    """How long a file stays that nothing in the hall refers to, in milliseconds."""
    unfinished_kept_ms: Annotated[int, Meta(ge=MINUTE_MS, le=365 * DAY_MS)] = HOUR_MS
    """How long an upload waits for its next chunk, in milliseconds."""


class File(Result):
    """A file that the caller may read."""

    sha256: str
    size_bytes: int


class FileChunk(Result):
    """A piece of a file."""

    sha256: str
    size_bytes: int
    """Of the whole file."""
    offset: int
    data: bytes
    """In base64; it ends where the next chunk of 256 KiB begins, or with the file."""


class Upload(Result):
    """How far the caller's upload of a file is."""

    sha256: str
    size_bytes: int | None
    """Of the whole file; None as long as nobody has said it."""
    offset: int
    """Bytes that are there: the next chunk begins here."""
    is_finished: bool
    """Whether all bytes are there and have this hash."""


class OwnFile(Result):
    """A file that the caller has uploaded, or is uploading."""

    sha256: str
    size_bytes: int
    is_finished: bool
    is_held: bool
    """Whether something in the hall refers to it."""
    kept_until_ms: int | None
    """When it goes unless something refers to it, or another chunk comes; None while it is held."""


class UploadRow(msgspec.Struct, frozen=True, kw_only=True):
    """An upload as it is kept; see the migration for its columns."""

    member_id: str
    sha256: str
    size_bytes: int
    is_sized: bool
    received_bytes: int
    blob_id: str | None
    changed_at_ms: int
    finished_at_ms: int | None
    unheld_at_ms: int | None

    @property
    def is_finished(self) -> bool:
        """Whether its bytes were verified."""
        return self.finished_at_ms is not None

    @property
    def is_whole(self) -> bool:
        """Whether all its bytes are there."""
        return self.is_sized and self.received_bytes == self.size_bytes


class FileRow(msgspec.Struct, frozen=True):
    """A verified file and where its bytes are."""

    sha256: str
    blob_id: str
    size_bytes: int


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What is used of the bounds: by one member, and by all."""

    member_uploads: int
    member_bytes: int
    hall_bytes: int


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Why a file stays, and who may read it.

    Attributes:
        holder: The room that holds it.
        ref: Its name for this hold.
        sha256: The file.
        owner: The member who uploaded it, and whose quota it counts to.
        permission: What lets others read it, at ``path``.
        path: Where.
        held_at_ms: Since when.
    """

    holder: str
    ref: str
    sha256: str
    owner: str
    permission: str
    path: str
    held_at_ms: int
