r"""Types of request fields that many rooms share; the bounds are part of the API.

A value that breaks a bound is refused while the request is decoded, with the
field's name, before anything else is done with it. The description is the remedy that
people read then, so it says in words what the pattern says in signs.

A pattern ends in ``(?!\n)$``: in Python a bare ``$`` lets a final line break pass, and
``\Z`` means nothing to those who read the pattern in the API documents.
"""

from typing import Annotated

from msgspec import Meta

from moothall.core.units import SAFE_INTEGER_MAX

Id = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}(?!\n)$",
        description="An id: letters, digits, '_', '.', ':' and '-', 1 to 128 characters.",
    ),
]
"""Id of a row, or a slug."""

Slug = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?(?!\n)$",
        description="Lower-case letters, digits and inner hyphens, 1 to 64 characters.",
    ),
]
"""Readable identifier chosen by its maker."""

Name = Annotated[str, Meta(min_length=1, max_length=64, description="1 to 64 characters.")]
"""Display name; the room says what else it demands."""

Text = Annotated[str, Meta(max_length=4_000, description="At most 4,000 characters.")]
"""Free text."""

Secret = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1_024,
        description="1 to 1,024 characters.",
        extra_json_schema={"format": "password", "writeOnly": True},
    ),
]
"""A secret: commands ask for it without echo, logs and the audit trail never hold it."""

ResourcePath = Annotated[
    str,
    Meta(
        max_length=512,
        pattern=(
            r"^([A-Za-z0-9][A-Za-z0-9_.:-]{0,127}(/[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}){0,7})?"
            r"(?!\n)$"
        ),
        description="Where: segments joined by '/', such as board/7; empty is the whole hall.",
    ),
]
"""Resource path; see :mod:`moothall.core.paths`."""

SafeInteger = Annotated[
    int,
    Meta(
        ge=-SAFE_INTEGER_MAX,
        le=SAFE_INTEGER_MAX,
        description="A whole number between -(2^53 - 1) and 2^53 - 1.",
    ),
]
"""Integer that every JSON reader keeps exact."""

TimeMs = Annotated[int, Meta(ge=0, le=SAFE_INTEGER_MAX, description="UTC epoch milliseconds.")]
"""A moment."""
