"""Types of fields that files are asked for by."""

from typing import Annotated

from msgspec import Meta

from moothall.core.units import SAFE_INTEGER_MAX

Sha256 = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f]{64}(?!\n)$",
        description="SHA-256 of all bytes of the file: 64 digits, 0 to 9 and a to f.",
    ),
]
Offset = Annotated[int, Meta(ge=0, le=SAFE_INTEGER_MAX, description="A byte, counted from 0.")]
SizeBytes = Annotated[int, Meta(ge=0, le=SAFE_INTEGER_MAX, description="How many bytes, from 0.")]
