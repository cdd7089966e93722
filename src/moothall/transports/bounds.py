"""What all bounds of the doors have in common: none of them can be switched off."""

from dataclasses import fields
from typing import TYPE_CHECKING

from moothall.core.errors import ConfigurationError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def check_bounds(bounds: "DataclassInstance") -> None:
    """Refuse a bound of nothing; bounds within ``bounds`` check themselves.

    Raises:
        ConfigurationError: A number is less than 1.
    """
    for bound in fields(bounds):
        value = getattr(bounds, bound.name)
        if isinstance(value, int) and value < 1:
            raise ConfigurationError(f"{bound.name} must be at least 1")
