"""Unit tests open no network socket: what needs one is no unit."""

import pytest


@pytest.fixture(autouse=True)
def no_network(socket_disabled: None) -> None:
    """Refuse every socket but those an event loop wakes itself with."""
