"""Puts the compliance domain together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from redis.asyncio import Redis

from polyphony.compliance.v1.audit_ledger_service_pb2_grpc import add_AuditLedgerServiceServicer_to_server
from polyphony.compliance.v1.audit_service_pb2_grpc import add_AuditServiceServicer_to_server
from polyphony.compliance.v1.consent_feed_service_pb2_grpc import add_ConsentFeedServiceServicer_to_server
from polyphony.compliance.v1.consent_service_pb2_grpc import add_ConsentServiceServicer_to_server
from services.compliance.adapters.checkpoint_file import CheckpointFile
from services.compliance.adapters.decisions import ConsentSource, SubjectState
from services.compliance.audit_ledger_servicer import AuditLedgerService
from services.compliance.audit_servicer import AuditService
from services.compliance.consent_feed_servicer import ConsentFeedService
from services.compliance.consent_servicer import ConsentService
from services.compliance.ledger import Ledger
from services.compliance.purpose_methods import methods_by_purpose
from services.compliance.purposes import CATALOGUE
from services.compliance.settings import Settings
from services.compliance.signing import CheckpointSigning
from services.runtime.events import EventRelay
from services.runtime.feeds import Feed, SqlFeedBoard
from services.runtime.hosting import Service
from services.runtime.keyring import Keyring
from services.runtime.member import Member
from services.runtime.persistence import Database
from services.runtime.settings import read_secret


def build(settings: Settings) -> Service:
    """The service. Raises ``OSError`` or ``ValueError`` where a key file is missing or cannot be used."""
    database = Database(
        settings.database_url,
        domain="compliance",
        keyring=Keyring.from_file(settings.kek_file),
        migrations=Path(__file__).parent / "migrations",
    )
    member = Member(settings, database)
    ledger = Ledger(database)
    file = CheckpointFile(settings.checkpoints_file)
    signing = CheckpointSigning(
        database,
        file,
        read_checkpoint_key(settings.checkpoint_key_file),
        interval=settings.checkpoint_seconds,
    )
    feed: Feed[Sequence[SubjectState], SubjectState] = Feed(
        ConsentSource(database, CATALOGUE),
        lease=settings.feed_lease_seconds,
        board=SqlFeedBoard(database, "consents"),
    )
    redis = Redis.from_url(settings.redis_url, password=read_secret(settings.redis_password_file).decode())
    events = EventRelay(database, redis)

    async def append_own(records: Sequence[bytes]) -> None:
        """Compliance's own records take the road of all others, without leaving the process."""
        await ledger.append(records)

    # No method of this domain rests on consent, so it follows no consent feed: it is where that feed comes from.
    member.authorities = replace(member.authorities, consents=None, append_records=append_own)
    consents = ConsentService(database, CATALOGUE, feed, methods_by_purpose())
    service = member.service(
        [
            (add_ConsentServiceServicer_to_server, consents),
            (add_ConsentFeedServiceServicer_to_server, ConsentFeedService(feed)),
            (add_AuditServiceServicer_to_server, AuditService(ledger, signing)),
            (add_AuditLedgerServiceServicer_to_server, AuditLedgerService(ledger)),
        ]
    )
    service.on_start(file.open)
    service.on_stop(file.close)
    service.on_stop(redis.aclose)
    service.on_start(events.start)
    service.on_stop(events.stop)
    service.background("consent feed", feed.run)
    service.background("checkpoints", signing.run)
    return service


def read_checkpoint_key(path: Path) -> Ed25519PrivateKey:
    """The key that signs checkpoints, from a PEM file that only its owner can read.

    Raises ``FileNotFoundError`` when it is missing, ``ValueError`` when others may read it or it is of another kind.
    """
    key = load_pem_private_key(read_secret(path), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} does not hold an Ed25519 key")
    return key
