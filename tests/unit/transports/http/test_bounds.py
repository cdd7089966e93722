from dataclasses import fields
from typing import Any

import pytest

from moothall.core.errors import ConfigurationError
from moothall.transports.http import HttpBounds


@pytest.mark.parametrize("name", [bound.name for bound in fields(HttpBounds) if bound.type is int])
def test_no_bound_can_be_switched_off(name: str) -> None:
    bound: dict[str, Any] = {name: 0}
    with pytest.raises(ConfigurationError, match=name):
        HttpBounds(**bound)
