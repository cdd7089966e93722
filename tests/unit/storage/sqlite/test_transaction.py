"""Running a coroutine that must not suspend."""

import asyncio
import types
from collections.abc import Awaitable, Generator
from typing import Any, NoReturn

import pytest

from moothall.storage.errors import SuspendedError
from moothall.storage.sqlite.transaction import drive


async def seven() -> int:
    return 7


class Awaited:
    """Something awaitable that is no coroutine."""

    def __await__(self) -> Generator[Any, None, int]:
        return seven().__await__()


class Waiting:
    def __await__(self) -> Generator[None, None, None]:
        yield


@pytest.mark.parametrize("make", [seven, Awaited], ids=["coroutine", "other"])
def test_what_is_ready_returns(make: Any) -> None:
    assert drive(make()) == 7


def test_what_raises_raises() -> None:
    async def work() -> NoReturn:
        raise KeyError

    with pytest.raises(KeyError):
        drive(work())


async def outer(awaited: Awaitable[None]) -> None:
    await inner(awaited)


async def inner(awaited: Awaitable[None]) -> None:
    await awaited


@pytest.mark.parametrize("make", [lambda: asyncio.sleep(0), Waiting], ids=["asyncio", "other"])
def test_the_whole_way_to_the_line_is_named(make: Any) -> None:
    with pytest.raises(SuspendedError) as caught:
        drive(outer(make()))
    text = str(caught.value)
    assert f"{__file__}:{inner.__code__.co_firstlineno + 1}" in text
    assert f"awaited by {__file__}:{outer.__code__.co_firstlineno + 1}" in text
    assert "asyncio" not in text


def test_a_generator_in_between_is_seen_through() -> None:
    @types.coroutine
    def wait() -> Generator[None, None, None]:
        yield

    with pytest.raises(SuspendedError, match=r"test_transaction\.py:\d+: a READ or WRITE"):
        drive(inner(wait()))


async def test_a_bare_future() -> None:
    with pytest.raises(SuspendedError, match="a future"):
        drive(asyncio.get_running_loop().create_future())


def test_what_is_released_on_the_way_out_is_released() -> None:
    released: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            released.append("released")

    with pytest.raises(SuspendedError):
        drive(work())
    assert released == ["released"]
