"""Base classes of what goes over the wire."""

import msgspec


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What a call asks for. Unknown fields are refused, so that a typing error is told."""


class Result(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a call answers. Fields may be added later; clients ignore unknown ones."""
