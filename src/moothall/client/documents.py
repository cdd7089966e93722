"""What a hall tells anybody by HTTPS: what it offers, and what kind of server it is."""

import asyncio

from moothall.client.address import Address
from moothall.client.catalog import Catalog, read_catalog
from moothall.client.courier import Courier
from moothall.client.description import PATH, Description, read_description
from moothall.client.errors import CallError, HallUnreachableError
from moothall.client.exchange import HTTP_NOT_MODIFIED, Answer, Exchange
from moothall.client.retry import Effect, Limits
from moothall.client.store import Store
from moothall.core.codes import Code


class Documents:
    """The documents of one hall. They need no token, and none is sent with them.

    Args:
        courier: Goes by HTTPS, whichever door calls go by.
        store: Keeps the description of the actions between runs.
        address: Where calls go.
        limits: Times and repetitions.
    """

    def __init__(self, courier: Courier, store: Store, address: Address, limits: Limits) -> None:
        self._courier = courier
        self._store = store
        self._address = address
        self._limits = limits
        self._catalog: Catalog | None = None
        self._describing = asyncio.Lock()

    async def catalog(self, *, is_fresh: bool = False) -> Catalog:
        """Return what the hall offers; asked for once, then remembered.

        Args:
            is_fresh: Ask the hall whether it has changed since.
        """
        async with self._describing:
            if self._catalog is None or is_fresh:
                self._catalog = await self._fetch_catalog()
            return self._catalog

    async def look_up(self, action: str) -> tuple[Effect | None, bool]:
        """Return what an action does, and whether it is public; unknown is None."""
        for is_fresh in (False, True):
            operation = (await self.catalog(is_fresh=is_fresh)).operations.get(action)
            if operation is not None:
                return operation.effect, operation.is_public
        return None, False

    async def describe(self) -> Description | None:
        """Return what kind of server it is; None for one that is too old to tell.

        Raises:
            HallUnreachableError: It did not answer, or is no hall.
            CertificateUntrustedError: It is not the one trusted.
        """
        try:
            answer = await self._deliver(Exchange(path=PATH, is_signed=False, is_safe=True))
        except CallError as error:
            if error.error_code in {Code.NOT_FOUND, Code.UNIMPLEMENTED}:
                return None
            raise
        return read_description(answer)

    async def close(self) -> None:
        """Close all connections."""
        await self._courier.close()

    async def _fetch_catalog(self) -> Catalog:
        kept = self._store.load_catalog()
        exchange = Exchange(
            path="/openapi.json",
            headers={"if-none-match": kept[0]} if kept else {},
            is_signed=False,
            is_safe=True,
        )
        try:
            answer = await self._deliver(exchange)
        except HallUnreachableError as error:
            if not self._address.is_ndjson:
                raise
            if kept:
                return read_catalog(kept[1])
            # Only the other port is known to be silent.
            error.remedy = (
                "what the hall offers is read by HTTPS: say at which port (https_port), or what"
                " the action does (effect)"
            )
            raise
        if answer.status == HTTP_NOT_MODIFIED and kept:
            return read_catalog(kept[1])
        catalog = read_catalog(answer.body)
        if etag := answer.headers.get("etag"):
            self._store.save_catalog(etag, answer.body)
        return catalog

    async def _deliver(self, exchange: Exchange) -> Answer:
        return await self._courier.deliver(exchange, _no_token, self._limits.timeout_ms)


async def _no_token(_rejected: str | None) -> None:
    """Give none: documents are for anybody."""
