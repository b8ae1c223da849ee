"""Storage of one domain: a SQLite file or a PostgreSQL schema, entered one transaction at a time.

A domain declares its tables once, in ``services/<domain>/adapters/sql.py``::

    from services.runtime.persistence import Instant, Revisioned, Sealed, SoftDeleted, TenantScoped, domain_metadata

    class Entity(DeclarativeBase):                      # one metadata per domain
        metadata = domain_metadata()

    class Play(TenantScoped, Entity):                   # every table is tenant scoped
        __tablename__ = "plays"
        id: Mapped[str] = mapped_column(String(64), primary_key=True)
        user: Mapped[str] = mapped_column(String(64), index=True)
        played_at: Mapped[datetime] = mapped_column(Instant)
        track_name: Mapped[bytes | None] = mapped_column(Sealed(field="polyphony.spotify.v1.Play.track_name"))

    class Import(Revisioned, SoftDeleted, TenantScoped, Entity):
        __tablename__ = "imports"
        ...

A use case is a plain function of a :class:`Transaction`; it runs on a worker thread and must be repeatable, because
a serialisation failure runs it again from the start::

    def start_import(tx: Transaction, user: str, digest: bytes) -> Import:
        row = Import(id=new_id(), user=user, digest=digest, create_time=tx.now)
        tx.session.add(row)                             # the tenant is filled in
        tx.emit(ImportStarted(...), subject=user)       # proto message, through the event outbox
        return row

    row = await database.write(lambda tx: start_import(tx, user, digest))
    row = await database.read(lambda tx: tx.require(Import, identifier, name="users/u/imports/i"))
    await database.write(sweep, tenant=SYSTEM)          # relays and jobs: no tenant scope, said aloud

* ``tx.session`` is a SQLAlchemy ``Session``. Every ORM statement gets ``tenant = ...`` and, for soft-deleted rows,
  ``delete_time IS NULL`` (``.execution_options(include_deleted=True)`` shows them). Core statements and ``text()`` on
  scoped tables are refused, because no criterion can be added to them: select columns of the mapped class instead
  (``select(func.count(Play.id))``). A bare ``__table__`` mixed into an ORM statement is caught on PostgreSQL only, by
  its row-level security: never write one.
* ``tx.find`` / ``tx.require`` load a row by primary key; ``require`` raises ``Fault(RESOURCE_NOT_FOUND)``.
* ``tx.bulk_insert(Play, rows)`` inserts many rows at the speed of the driver, and counts those that were new.
* ``tx.page(select(Play).where(...), by=[Play.played_at.desc(), Play.id], size=50, token=request.page_token,
  bound=(request.parent, request.filter))`` is AIP-158 with keyset paging and sealed tokens.
* ``tx.keys.of(user)`` seals and opens personal columns under that person's data key (:mod:`services.runtime.keyring`).
* ``tx.on_commit(callback)`` runs a callback on the event loop after the commit.
* ``row.check_etag(request.etag)`` raises ``Fault(ETAG_MISMATCH)``; ``row.etag`` is the current one (``Revisioned``).
* ``row.mark_deleted(tx.now, keep=timedelta(days=30))`` and ``row.undelete()`` (``SoftDeleted``, AIP-164);
  ``purge(tx, Import)`` removes what is due.

Inside a call, ``write`` also commits what the call's participants add (audit record, idempotency key); see
:mod:`interceptors.ports`. The tenant is that of the call's credential unless ``tenant=`` says otherwise.

Wiring: ``Database(settings.database_url, domain="spotify", keyring=Keyring.from_file(settings.kek_file),
migrations=Path(__file__).parent / "migrations")``, then ``await database.start()`` (migrates under a lock) and
``await database.close()``. The next revision of a schema is written by::

    python -m services.runtime.persistence.revise services.spotify.adapters.sql:Entity \\
        services/spotify/migrations "plays"
"""

from services.runtime.persistence.columns import BlindIndex, Instant, Sealed, protected_fields
from services.runtime.persistence.database import Database
from services.runtime.persistence.entities import (
    SYSTEM,
    Revisioned,
    SoftDeleted,
    TenantScoped,
    domain_metadata,
)
from services.runtime.persistence.pages import Page
from services.runtime.persistence.purge import purge
from services.runtime.persistence.scope import ScopeError
from services.runtime.persistence.transaction import Transaction

__all__ = [
    "SYSTEM",
    "BlindIndex",
    "Database",
    "Instant",
    "Page",
    "Revisioned",
    "ScopeError",
    "Sealed",
    "SoftDeleted",
    "TenantScoped",
    "Transaction",
    "domain_metadata",
    "protected_fields",
    "purge",
]
