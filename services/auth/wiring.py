"""Makes the auth domain a service of the mesh.

Its own calls take the same road as everybody's: its authenticator reads the keys that it publishes, and its authorizer
follows the feed that it serves, in the same process.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from polyphony.auth.v1.auth_service_pb2_grpc import add_AuthServiceServicer_to_server
from polyphony.auth.v1.authorization_feed_service_pb2_grpc import (
    add_AuthorizationFeedServiceServicer_to_server,
)
from services.auth.assembly import assemble
from services.auth.authorization_feed_servicer import AuthorizationFeedService
from services.auth.servicer import AuthService
from services.auth.settings import Settings
from services.runtime.hosting import Service
from services.runtime.keyring import Keyring
from services.runtime.member import Member
from services.runtime.persistence import Database

MIGRATIONS = Path(__file__).parent / "migrations"


def build(settings: Settings) -> Service:
    """The auth service. Raises OSError or ValueError for a key file that cannot be used."""
    keyring = Keyring.from_file(settings.kek_file)
    database = Database(settings.database_url, domain="auth", migrations=MIGRATIONS, keyring=keyring)
    assembly = assemble(settings, database)
    door, feed = AuthService(assembly.verbs), AuthorizationFeedService(assembly.feed)
    member = Member(settings, database)
    member.authorities = replace(
        member.authorities,
        authorization=lambda requests: feed.SyncAuthorization(requests, None),
        keys=door.key_set,
        consents=None,
    )
    service = member.service(
        [
            (add_AuthServiceServicer_to_server, door),
            (add_AuthorizationFeedServiceServicer_to_server, feed),
        ]
    )
    service.on_start(assembly.open)
    service.on_stop(assembly.close)
    service.background("authorization authority", assembly.feed.run)
    service.background("upkeep", assembly.upkeep)
    return service
