"""Show the caller their own account."""

from __future__ import annotations

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.auth.model.account import User
from services.auth.ports import Storage


class WhoAmI:
    """Reads one account of the caller's tenant."""

    def __init__(self, storage: Storage) -> None:
        """Holds what it needs."""
        self._storage = storage

    async def __call__(self, *, tenant: str, user: str) -> User:
        """The account. Raises Fault RESOURCE_NOT_FOUND when it was deleted since the credential was issued."""
        found = await self._storage.read(lambda stores: stores.accounts.get(user), tenant=tenant)
        if found is None:
            raise Fault(reason_pb2.REASON_RESOURCE_NOT_FOUND, metadata={"resource": f"users/{user}"})
        return found
