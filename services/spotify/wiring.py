"""Puts the spotify domain together."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from functools import partial
from pathlib import Path

from redis.asyncio import Redis

from interceptors.faults import Fault
from polyphony.spotify.v1.user_data_service_pb2_grpc import add_UserDataServiceServicer_to_server
from services.runtime.events import EventRelay
from services.runtime.hosting import Service
from services.runtime.keyring import Keyring
from services.runtime.member import Member
from services.runtime.persistence import SYSTEM, Database
from services.runtime.settings import read_secret
from services.spotify.adapters.export.archive import Limits
from services.spotify.adapters.export.reader import ExportReader
from services.spotify.adapters.storage import SqlStorage
from services.spotify.servicer import UserDataService
from services.spotify.settings import Settings
from services.spotify.usecases.import_history import ImportHistory

MIGRATIONS = Path(__file__).parent / "migrations"

PURGE_ROWS = 5_000
"""Rows removed per transaction: the one writer of SQLite is not held up for longer than some milliseconds."""

_log = logging.getLogger(__name__)


def build(settings: Settings) -> Service:
    """The spotify service. Connects and opens nothing before its hooks run."""
    database = Database(
        settings.database_url,
        domain="spotify",
        keyring=Keyring.from_file(settings.kek_file),
        migrations=MIGRATIONS,
    )
    member = Member(settings, database)
    storage = SqlStorage(database)
    importing = importer(settings, storage)
    servicer = UserDataService(storage, importing, keep=timedelta(days=settings.history_keep_days))
    service = member.service([(add_UserDataServiceServicer_to_server, servicer)])

    password = (
        read_secret(settings.redis_password_file).decode() if settings.redis_password_file.exists() else None
    )
    redis = Redis.from_url(settings.redis_url, password=password)
    events = EventRelay(database, redis)
    service.on_stop(redis.aclose)
    service.on_start(events.start)
    service.on_stop(events.stop)
    service.on_stop(importing.close)
    service.background("purge", partial(keep_purged, database, settings.purge_seconds))
    return service


def importer(settings: Settings, storage: SqlStorage) -> ImportHistory:
    """What reads files in, within the limits of the settings."""
    limits = Limits(
        entries=settings.archive_max_entries,
        entry_bytes=settings.archive_max_entry_bytes,
        total_bytes=settings.archive_max_bytes,
        ratio=settings.archive_max_ratio,
    )
    return ImportHistory(
        storage, ExportReader(limits), max_bytes=settings.import_max_bytes, readers=settings.import_readers
    )


async def keep_purged(database: Database, seconds: float) -> None:
    """Purge every so many `seconds` until cancelled. What a database that is away keeps from it is only put off."""
    while True:
        try:
            await purge_histories(database)
        except Fault as fault:
            _log.warning("purging is put off: %s", fault)
        await asyncio.sleep(seconds)


async def purge_histories(database: Database) -> None:
    """Remove the histories of every tenant whose purge time has come."""
    storage = SqlStorage(database, SYSTEM)
    while await storage.write(lambda stores: stores.histories.purge(PURGE_ROWS)):
        pass
