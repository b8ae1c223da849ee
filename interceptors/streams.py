"""Ends open streams whose ground was withdrawn: a consent, a right, or a session."""

from __future__ import annotations

from interceptors.call import Call
from interceptors.faults import Fault
from interceptors.ports import Authorizer, ConsentLedger


class OpenStreams:
    """The streams that a process is answering. It rechecks them when policy or consent changes."""

    def __init__(self, authorizer: Authorizer | None, consents: ConsentLedger | None) -> None:
        self._calls: set[Call] = set()
        if authorizer is not None:
            authorizer.subscribe(self._policy_changed)
        if consents is not None:
            consents.subscribe(self._consent_changed)

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
