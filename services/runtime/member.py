"""What every service is as a member of the mesh: its identity, whom it follows, and the ports of its road.

A domain's wiring makes one `Member` and asks it for the `Service`. The road's ports are then filled from auth's and
compliance's feeds, and from the domain's own database. Auth and compliance themselves put local ones in the place of
the feeds that they serve: `member.authorities = replace(member.authorities, ...)`, before asking for the service.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import text

from interceptors.aio import chain
from interceptors.faults import Fault
from polyphony.auth.v1 import auth_service_pb2
from polyphony.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from polyphony.auth.v1.authorization_feed_service_pb2_grpc import AuthorizationFeedServiceStub
from polyphony.auth.v1.token_pb2 import JsonWebKey
from polyphony.compliance.v1 import audit_ledger_service_pb2
from polyphony.compliance.v1.audit_ledger_service_pb2_grpc import AuditLedgerServiceStub
from polyphony.compliance.v1.consent_feed_service_pb2_grpc import ConsentFeedServiceStub
from polyphony.errors.v1 import reason_pb2
from services.runtime import authorization_state, consents
from services.runtime.audit_relay import AuditRelay
from services.runtime.audit_sink import DatabaseAuditSink
from services.runtime.authentication import TokenAuthenticator
from services.runtime.channels import Channels
from services.runtime.feeds import FeedFollower
from services.runtime.hosting import Registration, Service, service_names
from services.runtime.housekeeping import Housekeeping
from services.runtime.idempotency import DatabaseIdempotencyStore
from services.runtime.key_set import KeySet
from services.runtime.limits import Limiter
from services.runtime.metrics import FEED_FRESH, FEED_VERSION
from services.runtime.persistence import SYSTEM, Database
from services.runtime.service_identity import ServiceIdentity
from services.runtime.settings import ServiceSettings
from services.runtime.tokens import TokenTerms

_LEDGER_SECONDS = 10.0
_KEYS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Authorities:
    """Where a service learns what it must know. `consents` is None where no method of the service rests on consent."""

    authorization: authorization_state.Sync
    keys: Callable[[], Awaitable[Sequence[JsonWebKey]]]
    consents: consents.Sync | None
    append_records: Callable[[Sequence[bytes]], Awaitable[None]]


class Member:
    """One service's membership. Made in a running event loop; connects, opens and starts nothing by itself.

    `database` must have a keyring. Raises `FileNotFoundError` or `ValueError` where the service's key cannot be used.
    """

    def __init__(self, settings: ServiceSettings, database: Database) -> None:
        if database.keyring is None:
            raise ValueError("a member's database needs a keyring")
        self.settings = settings
        self.database = database
        self.name = f"{settings.domain}-{settings.worker}"
        self.identity = ServiceIdentity.from_file(
            settings.domain, settings.service_key_file, audience=settings.token_audience
        )
        self.channels = Channels(settings, self.identity)
        self.authorities = self._remote()
        self.digest_key = database.keyring.derive(f"audit digests of {settings.domain}")

    def service(self, servicers: Sequence[Registration]) -> Service:
        """The service that answers `servicers` on the road, with everything that must run beside it.

        The domain adds its own hooks and tasks afterwards; the database is open, and records can be kept, when they
        run. Raises ContractError or MissingPort where the contract cannot be served.
        """
        settings, given = self.settings, self.authorities
        run_id = f"{self.name}-{secrets.token_hex(4)}"
        keys = KeySet(given.keys)
        state = authorization_state.AuthorizationState(given.authorization, follower=run_id)
        ledger = consents.Consents(given.consents, follower=run_id) if given.consents is not None else None
        audit = DatabaseAuditSink(self.database)
        relay = AuditRelay(self.database, audit, given.append_records)
        answers = DatabaseIdempotencyStore(self.database)
        terms = TokenTerms(settings.token_issuer, settings.token_audience)
        road = chain(
            service_names(servicers),
            service=self.name,
            authenticator=TokenAuthenticator(keys, state, terms),
            authorizer=state,
            consents=ledger,
            audit=audit,
            idempotency=answers,
            limiter=Limiter(settings.limit_rate, settings.limit_burst, settings.limit_concurrency),
            digest_key=self.digest_key,
            trace_ratio=settings.trace_ratio,
        )
        service = Service(settings.domain, settings, servicers, [road])
        service.on_stop(self.channels.close)
        service.on_start(self.database.start)
        service.on_stop(self.database.close)
        service.on_start(audit.start)
        service.on_stop(audit.stop)
        service.on_start(relay.start)
        service.on_stop(relay.stop)
        service.on_drain(lambda: road.road.streams.end_all(Fault(reason_pb2.REASON_SHUTTING_DOWN)))
        service.background("housekeeping", Housekeeping(self.database, answers).run)
        service.background("keys", keys.run)
        service.ready_when("keys", lambda: keys.known)
        self._follow(service, "authorization", state.follower)
        if ledger is not None:
            self._follow(service, "consents", ledger.follower)
        service.ready_when("database", self._database_answers)
        return service

    def _follow(self, service: Service, feed: str, follower: FeedFollower[Any, Any]) -> None:
        FEED_FRESH.labels(service.name, feed).set_function(lambda: follower.fresh)
        FEED_VERSION.labels(service.name, feed).set_function(lambda: follower.version)
        service.background(f"{feed} feed", follower.run)
        service.ready_when(f"{feed} feed", lambda: follower.fresh)

    async def _database_answers(self) -> bool:
        await self.database.read(lambda tx: tx.connection.execute(text("SELECT 1")).one(), tenant=SYSTEM)
        return True

    def _remote(self) -> Authorities:
        auth = self.channels.for_itself(
            self.settings.auth_endpoint,
            "polyphony.auth.v1.AuthService",
            "polyphony.auth.v1.AuthorizationFeedService",
        )
        compliance = self.channels.for_itself(
            self.settings.compliance_endpoint,
            "polyphony.compliance.v1.ConsentFeedService",
            "polyphony.compliance.v1.AuditLedgerService",
        )
        key_server, ledger = AuthServiceStub(auth), AuditLedgerServiceStub(compliance)

        async def keys() -> Sequence[JsonWebKey]:
            request = auth_service_pb2.GetJsonWebKeySetRequest()
            return (await key_server.GetJsonWebKeySet(request, timeout=_KEYS_SECONDS)).keys

        async def append_records(records: Sequence[bytes]) -> None:
            request = audit_ledger_service_pb2.AppendRecordsRequest(records=records)
            await ledger.AppendRecords(request, timeout=_LEDGER_SECONDS)

        return Authorities(
            # The stubs' types know grpc's own call objects; these channels return async generators.
            authorization=cast(
                "authorization_state.Sync", AuthorizationFeedServiceStub(auth).SyncAuthorization
            ),
            keys=keys,
            consents=cast("consents.Sync", ConsentFeedServiceStub(compliance).SyncConsents),
            append_records=append_records,
        )
