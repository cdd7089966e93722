"""Marks that only the type checker reads; `typing` has them from Python 3.12 on."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method: object) -> object:
        """Say that this method stands in for one of a base class."""
        return method


__all__ = ["override"]
