"""Public verbs of the files room: uploading, reading, holding."""

from moothall.services.files.actions.holds import (
    ChangeReader,
    HoldFile,
    ReleaseFile,
    change_reader,
    hold_file,
    release_file,
)
from moothall.services.files.actions.reading import get_chunk, get_file
from moothall.services.files.actions.uploads import (
    delete_file,
    get_upload,
    list_files,
    put_chunk,
)

__all__ = [
    "ChangeReader",
    "HoldFile",
    "ReleaseFile",
    "change_reader",
    "delete_file",
    "get_chunk",
    "get_file",
    "get_upload",
    "hold_file",
    "list_files",
    "put_chunk",
    "release_file",
]
