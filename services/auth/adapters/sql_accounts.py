"""Tenants and users in the domain's database: the Accounts of `ports`."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.auth.adapters.tables import TenantRow, UserRow
from services.auth.model.account import Tenant, User
from services.auth.ports import Credentials
from services.runtime.persistence import Transaction


class SqlAccounts:
    """The Accounts of `ports`."""

    def __init__(self, tx: Transaction, tenant: str) -> None:
        """For the rows of `tenant`."""
        self._tx = tx
        self._tenant = tenant

    def found(self, tenant: Tenant, founder: User, address: bytes) -> User:
        """Stores both and returns the founder as stored."""
        key = self._tx.keys.of(founder.id, tenant=tenant.id)
        self._tx.session.add(
            TenantRow(
                id=tenant.id,
                tenant=tenant.id,
                founder=founder.id,
                display_name=key.seal(TenantRow.display_name, tenant.id, tenant.display_name),
                create_time=tenant.created_at,
            )
        )
        row = UserRow(
            id=founder.id,
            tenant=tenant.id,
            address=address,
            email=key.seal(UserRow.email, founder.id, founder.email),
            display_name=key.seal(UserRow.display_name, founder.id, founder.display_name),
            roles=list(founder.roles),
            password_hash=founder.password_hash,
            create_time=founder.created_at,
            update_time=founder.updated_at,
        )
        self._tx.session.add(row)
        try:
            self._tx.session.flush()
        except IntegrityError as error:
            # Ids are new: the address is the only key that can be taken. The error's text holds the row, so
            # it is
            # not carried along.
            raise Fault(
                reason_pb2.REASON_RESOURCE_EXISTS,
                "An account with this e-mail address exists.",
                metadata={"field": "email"},
            ) from error.orig
        return self._user(row)

    def credentials(self, address: bytes) -> Credentials | None:
        """What is compared at log-in, whichever tenant the account is in."""
        found = self._tx.session.execute(
            select(UserRow.tenant, UserRow.id, UserRow.password_hash).where(UserRow.address == address)
        ).one_or_none()
        return Credentials(*found) if found else None

    def get(self, user: str) -> User | None:
        """The user with this id."""
        row = self._row(user)
        return self._user(row) if row is not None else None

    def replace_password_hash(self, user: str, password_hash: str) -> None:
        """Stores another hash of the same password; the account's revision moves on."""
        row = self._row(user)
        if row is not None:
            row.password_hash = password_hash
            self._tx.session.flush()

    def _row(self, user: str) -> UserRow | None:
        return self._tx.session.scalars(
            select(UserRow).where(UserRow.tenant == self._tenant, UserRow.id == user)
        ).one_or_none()

    def _user(self, row: UserRow) -> User:
        key = self._tx.keys.of(row.id, tenant=row.tenant)
        return User(
            id=row.id,
            tenant=row.tenant,
            email=key.open_text(UserRow.email, row.id, row.email),
            display_name=key.open_text(UserRow.display_name, row.id, row.display_name),
            roles=tuple(row.roles),
            password_hash=row.password_hash,
            created_at=row.create_time,
            updated_at=row.update_time,
            etag=row.etag,
        )
