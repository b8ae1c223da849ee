"""All domains in one process on real SQLite with real feeds, and everything that is recorded of the calls to them."""

from __future__ import annotations

import asyncio
import importlib
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cli.mesh.identity import make_keys
from interceptors.contract import MethodContract
from interceptors.purposes import PURPOSE_IDS
from polyphony.auth.v1 import auth_service_pb2 as auth
from polyphony.compliance.v1 import consent_service_pb2
from polyphony.policy.v1 import policy_pb2
from services.__main__ import DOMAINS
from services.auth.adapters.key_files import SigningKeyFiles
from services.runtime.lifecycle import Host
from services.runtime.service_identity import Behalf, ServiceIdentity
from tests.contract.catalogue import METHODS, domain_of
from tests.contract.journal import Journal
from tests.contract.real_parts import running_redis, running_triton
from tests.fixtures.callers import AioCaller, Outcome, Requests
from tests.integration.conftest import free_port

PASSWORD = "a long and quite unusual sentence"
BY_PATH: Mapping[str, MethodContract] = {method.path: method for method in METHODS}
CONSENTS = {
    purpose
    for method in METHODS
    for purpose, basis in method.purposes.items()
    if basis == policy_pb2.LEGAL_BASIS_CONSENT
}
"""Every purpose that some method rests on consent for."""


@dataclass
class Person:
    """Somebody with an account: the credential that a log-in gave them, and which consents they have."""

    user: str
    tenant: str
    email: str
    token: str
    refresh_token: str


class Mesh:
    """A running mesh in this process, and how to call it as anybody."""

    def __init__(self, home: Path, settings: Mapping[str, Any], callers: Mapping[str, AioCaller]) -> None:
        self.home = home
        self.settings = settings
        self.journal = Journal(home / "data")
        self._callers = callers
        self.stops: dict[str, Callable[[], Awaitable[None]]] = {}
        """Stops a domain, by its name."""
        self.alice = self.bob = self.carol = Person("", "", "", "", "")
        self._left = ""

    async def call(
        self,
        method: MethodContract | str,
        requests: Requests,
        token: str | None = None,
        *,
        parent: str = "",
        purpose: str = "",
        seconds: float | None = 10.0,
    ) -> Outcome:
        """Call a method. `parent` is what the call's record will name."""
        path = method if isinstance(method, str) else method.path
        metadata = {"polyphony-parent": parent} if parent else {}
        if token is not None:
            metadata["authorization"] = f"Bearer {token}"
        if purpose:
            metadata["polyphony-purpose"] = purpose
        return await self._callers[domain_of(path[1:])].call(path, requests, metadata, seconds)

    async def sign_up(self) -> Person:
        """A new tenant with one account that is logged in."""
        email = f"{secrets.token_hex(8)}@example.org"
        request = auth.SignUpRequest(email=email, password=PASSWORD)
        user = (await self.call("/polyphony.auth.v1.AuthService/SignUp", request)).response.user
        person = Person(user.name.removeprefix("users/"), "", email, "", "")
        await self.log_in(person)
        return person

    async def log_in(self, person: Person) -> None:
        """Begin a session."""
        request = auth.LogInRequest(email=person.email, password=PASSWORD)
        tokens = (await self.call("/polyphony.auth.v1.AuthService/LogIn", request)).response.tokens
        person.token, person.refresh_token = tokens.access_token, tokens.refresh_token
        person.tenant = jwt.decode(person.token, options={"verify_signature": False})["tenant"]

    async def grant(self, person: Person, *purposes: int) -> None:
        """Consent to purposes; when this returns, every domain knows."""
        for purpose in purposes:
            request = consent_service_pb2.GrantConsentRequest(
                parent="users/me", purpose=purpose, notice_version=1, language_code="en"
            )
            path = "/polyphony.compliance.v1.ConsentService/GrantConsent"
            assert (await self.call(path, request, person.token)).code == "OK"

    async def withdraw(self, person: Person, *purposes: str) -> None:
        """Withdraw consents, by the ids of their purposes."""
        for purpose in purposes:
            request = consent_service_pb2.WithdrawConsentRequest(name=f"users/me/consents/{purpose}")
            path = "/polyphony.compliance.v1.ConsentService/WithdrawConsent"
            assert (await self.call(path, request, person.token)).code == "OK"

    def forge(
        self, person: Person, *, key: Any = None, headers: Mapping[str, Any] | None = None, **claims: Any
    ) -> str:
        """The person's token with other claims, signed by the mesh's own key unless another is given."""
        signing = SigningKeyFiles(self.settings["auth"].signing_keys_folder).load()[-1]
        return _resigned(person.token, key or signing.private, headers or {}, claims)

    def forge_service(self, name: str, **claims: Any) -> str:
        """A service's token with other claims, signed by its own key."""
        key = load_pem_private_key(self.settings[name].service_key_file.read_bytes(), None)
        return _resigned(self.service_token(name), key, {}, claims)

    def service_token(self, name: str, person: Person | None = None, purpose: str = "") -> str:
        """A token of a service, for itself or for a person."""
        identity = ServiceIdentity.from_file(
            name, self.settings[name].service_key_file, audience=self.settings[name].token_audience
        )
        return identity.token(Behalf(person.tenant, person.user, purpose) if person else Behalf())

    def service_kid(self, name: str) -> str:
        """The id of the key of a service."""
        return str(jwt.get_unverified_header(self.service_token(name))["kid"])

    async def left(self) -> str:
        """The token of somebody who has logged out."""
        if not self._left:
            person = await self.sign_up()
            assert (await self.call("/polyphony.auth.v1.AuthService/LogOut", b"", person.token)).code == "OK"
            self._left = person.token
        return self._left

    @contextmanager
    def locked(self, domain: str) -> Iterator[None]:
        """Nobody can write to the domain's database meanwhile: calls wait where they commit."""
        connection = sqlite3.connect(self.home / "data" / f"{domain}.db", isolation_level=None, timeout=30)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")
            connection.close()

    def rows(self, domain: str) -> set[tuple[Any, ...]]:
        """Every row of the domain's own tables: what a call that changes nothing leaves as it was."""
        found = set()
        with sqlite3.connect(f"file:{self.home / 'data' / domain}.db?mode=ro", uri=True) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (name,) in names:
                columns = "COUNT(*)" if name in _PROGRESSING else "*"
                if name not in _RESTLESS:
                    found |= {(name, *row) for row in connection.execute(f'SELECT {columns} FROM "{name}"')}  # noqa: S608
        return found


def _resigned(token: str, key: Any, headers: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """A token changed and signed; a claim of None is left out."""
    header = jwt.get_unverified_header(token) | headers
    payload = jwt.decode(token, options={"verify_signature": False}) | claims
    payload = {name: value for name, value in payload.items() if value is not None}
    algorithm = header.pop("alg")
    return jwt.encode(payload, None if algorithm == "none" else key, algorithm=algorithm, headers=header)


_RESTLESS = {
    "audit_outbox",
    "event_outbox",
    "feed_workers",
    "ledger_logs",
    "ledger_records",
    "ledger_tiles",
    "subject_keys",
}
"""Tables that change without any call: what is on its way, the ledger of the calls themselves with the keys of those
it speaks of."""

_PROGRESSING = {"trainings"}
"""Tables of jobs, which go on: only how many there are says that a call made one."""


@asynccontextmanager
async def running_mesh(home: Path, **chosen: Any) -> AsyncIterator[Mesh]:
    """Start Redis, Triton and every domain, with the `chosen` settings where a domain has them; make Alice with every
    consent, Bob with none, Carol who withdrew them all."""
    make_keys(home / "keys", DOMAINS)
    ports = {domain: free_port() for domain in DOMAINS}
    settings, callers, stops = {}, {}, {}
    async with AsyncExitStack() as stack:
        chosen["redis_url"] = stack.enter_context(running_redis(home))
        chosen["triton_endpoint"] = stack.enter_context(running_triton(home))
        for domain, package in DOMAINS.items():
            kind = importlib.import_module(f"{package}.settings").Settings
            given = {"home": home, "port": ports[domain], **_GIVEN, **chosen}
            given |= {f"{other}_endpoint": f"127.0.0.1:{port}" for other, port in ports.items()}
            settings[domain] = kind(**{name: given[name] for name in given.keys() & kind.model_fields})
            host = Host([importlib.import_module(f"{package}.wiring").build(settings[domain])])
            running = await stack.enter_async_context(AsyncExitStack())
            await running.enter_async_context(host)
            stops[domain] = running.aclose
        for domain, port in ports.items():
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
            callers[domain] = AioCaller(channel, BY_PATH)
        mesh = Mesh(home, settings, callers)
        mesh.stops = stops
        await _ready(mesh)
        mesh.alice, mesh.bob, mesh.carol = [await mesh.sign_up() for _ in range(3)]
        await mesh.grant(mesh.alice, *CONSENTS)
        await mesh.grant(mesh.carol, *CONSENTS)
        await mesh.withdraw(mesh.carol, *(PURPOSE_IDS[purpose] for purpose in CONSENTS))
        yield mesh


_GIVEN = {
    "metrics_port": 0,
    # The suite calls as few people, and as often as it can.
    "limit_rate": 1e6,
    "limit_burst": 1e6,
    "drain_seconds": 0,
    "grace_seconds": 1,
    "trace_ratio": 0,
    # Whose strength is tested elsewhere.
    "argon2_memory_kib": 8,
    "argon2_iterations": 1,
}


async def _ready(mesh: Mesh) -> None:
    """Wait until every domain has its feeds and keys: then it refuses a stranger for what they are."""
    for domain in DOMAINS:
        method = next(m for m in METHODS if domain_of(m.name) == domain and not m.public)
        until = time.monotonic() + 20
        # A token of a known key: with none, the answer would not depend on keys or feeds.
        while (outcome := await mesh.call(method, b"", mesh.service_token("ai"))).code == "UNAVAILABLE":
            assert time.monotonic() < until, f"{domain} is not ready: {outcome.reason}"
            await asyncio.sleep(0.05)
