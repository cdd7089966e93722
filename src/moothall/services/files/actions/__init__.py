"""Public verbs of the files room: uploading, reading, holding. Other rooms hold files."""

from moothall.services.files.actions.holds import (
    ChangeReader,
    HoldFile,
    ReleaseFile,
    change_reader,
    hold_file,
    release_file,
)

__all__ = [
    "ChangeReader",
    "HoldFile",
    "ReleaseFile",
    "change_reader",
    "hold_file",
    "release_file",
]
