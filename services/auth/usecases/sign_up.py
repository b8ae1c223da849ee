"""Open an account: a tenant and its founder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from interceptors.faults import Fault
from interceptors.ids import new_id
from polyphony.errors.v1 import reason_pb2
from services.auth.model.account import FOUNDER_ROLES, Tenant, User
from services.auth.model.address_index import AddressIndex
from services.auth.model.password_policy import PasswordPolicy
from services.auth.ports import PasswordHasher, Storage, Stores

R = TypeVar("R")


class SignUp:
    """Checks the password, hashes it off the loop, and stores tenant and founder in one transaction."""

    def __init__(
        self, storage: Storage, hasher: PasswordHasher, policy: PasswordPolicy, addresses: AddressIndex
    ) -> None:
        """Holds what it needs."""
        self._storage = storage
        self._hasher = hasher
        self._policy = policy
        self._addresses = addresses

    async def __call__(
        self,
        *,
        email: str,
        password: str,
        display_name: str,
        tenant_display_name: str,
        answer: Callable[[User], R],
    ) -> R:
        """Opens the account and returns `answer(user)`, computed inside the transaction.

        Raises Fault PASSWORD_TOO_WEAK, or RESOURCE_EXISTS when the address has an account anywhere in the
        mesh.
        """
        email = email.strip().lower()
        display_name = display_name.strip() or email.partition("@")[0]
        tenant_display_name = tenant_display_name.strip() or display_name
        weakness = self._policy.weakness(password, own=(email, display_name, tenant_display_name))
        if weakness is not None:
            raise Fault(reason_pb2.REASON_PASSWORD_TOO_WEAK, weakness, field="password")
        password_hash = await self._hasher.hash(password)
        address = self._addresses.of(email)
        tenant_id, user_id = new_id(), new_id()

        def found(stores: Stores) -> R:
            tenant = Tenant(tenant_id, tenant_display_name, stores.now)
            founder = User(
                id=user_id,
                tenant=tenant_id,
                email=email,
                display_name=display_name,
                roles=tuple(FOUNDER_ROLES),
                password_hash=password_hash,
                created_at=stores.now,
                updated_at=stores.now,
            )
            return answer(stores.accounts.found(tenant, founder, address))

        return await self._storage.write(found, tenant=tenant_id)
