"""Who calls."""

from __future__ import annotations

from dataclasses import dataclass

ANONYMOUS_TENANT = "-"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls. `user` is a user id, or `service:<name>` for a service that acts for nobody.

    `actor` is the service that acts on the user's behalf (RFC 8693 `act.sub`), else empty.
    `purpose` limits the call to one purpose when the credential itself names it.
    `expires` is in seconds since the epoch.
    """

    credential: int
    tenant: str
    user: str
    session: str = ""
    roles: tuple[str, ...] = ()
    actor: str = ""
    purpose: str = ""
    expires: float = 0.0


ANONYMOUS = Identity(credential=1, tenant=ANONYMOUS_TENANT, user="")
