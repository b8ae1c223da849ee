"""Bounds the streams of a person, and ends open ones whose ground was withdrawn: a consent, a right, or a session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from interceptors.call import Call
from interceptors.faults import Fault
from interceptors.identity import Identity
from interceptors.ports import Authorizer, ConsentLedger
from polyphony.errors.v1 import reason_pb2
from polyphony.policy.v1 import policy_pb2

MOST_OF_A_PERSON = 32
"""Streams that one person may have open at one process. A stream keeps its place among the calls in flight for as long
as its caller likes, so without a bound one person could hold them all."""
_RETRY_SECONDS = 1.0


class OpenStreams:
    """The streams that a process is answering. It rechecks them when policy or consent changes."""

    def __init__(self, authorizer: Authorizer | None, consents: ConsentLedger | None) -> None:
        self._calls: set[Call] = set()
        self._places: Counter[tuple[str, str]] = Counter()
        if authorizer is not None:
            authorizer.subscribe(self._policy_changed)
        if consents is not None:
            consents.subscribe(self._consent_changed)

    @contextmanager
    def place(self, identity: Identity) -> Iterator[None]:
        """Hold a place for a stream, from its opening to its end. Raises Fault RATE_LIMITED where a person has too
        many; services, which follow feeds, have as many as they need."""
        if identity.credential == policy_pb2.CREDENTIAL_SERVICE:
            yield
            return
        person = (identity.tenant, identity.user)
        if self._places[person] >= MOST_OF_A_PERSON:
            raise Fault(
                reason_pb2.REASON_RATE_LIMITED,
                f"{MOST_OF_A_PERSON} streams of one person are open here; end one of them first.",
                retry_after=_RETRY_SECONDS,
            )
        self._places[person] += 1
        try:
            yield
        finally:
            self._places[person] -= 1
            if not self._places[person]:
                del self._places[person]

    def add(self, call: Call) -> None:
        """Watch a call from now on."""
        self._calls.add(call)

    def discard(self, call: Call) -> None:
        """Watch a call no more."""
        self._calls.discard(call)

    def __len__(self) -> int:
        return len(self._calls)

    def end_all(self, fault: Fault) -> None:
        """End every open stream, because the process stops."""
        for call in tuple(self._calls):
            call.end(fault)

    def _policy_changed(self) -> None:
        for call in tuple(self._calls):
            _recheck(call)

    def _consent_changed(self, tenant: str, subject: str) -> None:
        for call in tuple(self._calls):
            if call.subject == subject and call.identity.tenant == tenant:
                _recheck(call)


def _recheck(call: Call) -> None:
    try:
        call.recheck()
    except Fault as fault:
        call.end(fault)
