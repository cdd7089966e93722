from dataclasses import fields

import pytest

from moothall.core.errors import ConfigurationError
from moothall.transports.listener import ListenerBounds


@pytest.mark.parametrize("name", [bound.name for bound in fields(ListenerBounds)])
def test_no_bound_can_be_switched_off(name: str) -> None:
    bound: dict[str, int] = {name: 0}
    with pytest.raises(ConfigurationError, match=name):
        ListenerBounds(**bound)
