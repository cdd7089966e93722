"""Base classes of what goes over the wire: immutable, with named fields only."""

from typing import Any, dataclass_transform

import msgspec


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class WireMeta(msgspec.StructMeta):
    """Makes every subclass frozen, with named fields, and tells type checkers so."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any
    ) -> Any:
        """Make a class; msgspec inherits ``frozen`` but not ``kw_only``."""
        return super().__new__(cls, name, bases, namespace, **{"kw_only": True, **config})


class Request(
    msgspec.Struct,
    metaclass=WireMeta,
    frozen=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """What a call asks for. Unknown fields are refused, so that a typing error is told."""


class Result(msgspec.Struct, metaclass=WireMeta, frozen=True, gc=False):
    """What a call answers. Fields may be added later; clients ignore unknown ones."""
