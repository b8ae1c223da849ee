"""Finds out who calls."""

from __future__ import annotations

import time

from interceptors.call import Call
from interceptors.contract import MethodContract
from interceptors.faults import Fault
from interceptors.identity import Identity
from interceptors.step import Endpoint, Road
from interceptors.steps.limits import AUTHORIZATION_METADATA
from polyphony.errors.v1 import reason_pb2
from polyphony.policy.v1 import policy_pb2

_SCHEME = "bearer "
_KINDS: dict[int, str] = {
    number: name.removeprefix("CREDENTIAL_").lower() for name, number in policy_pb2.Credential.items()
}


def authentication(road: Road, method: MethodContract, onward: Endpoint) -> Endpoint:
    """Verify the bearer token and that the method accepts its kind. A method that is only public reads no token."""
    if method.credentials == {policy_pb2.CREDENTIAL_PUBLIC}:
        return onward
    assert road.authenticator is not None
    cached, verify = road.authenticator.cached, road.authenticator.verify
    accepted, optional, streams = method.credentials, method.public, method.streams

    def still_valid(identity: Identity, token: str) -> None:
        # A token that is known no more (its key was removed, or it was forgotten) cannot be checked for revocation.
        if identity.expires < time.time() or cached(token) is None:
            raise Fault(reason_pb2.REASON_CREDENTIAL_EXPIRED)

    async def authenticated(call: Call) -> bytes | None:
        call.step = "authentication"
        header = call.metadata.get(AUTHORIZATION_METADATA, "")
        if not header:
            if not optional:
                raise Fault(reason_pb2.REASON_CREDENTIAL_MISSING, f"{method.name} needs an access token.")
            return await onward(call)
        if header[: len(_SCHEME)].lower() != _SCHEME:
            raise Fault(
                reason_pb2.REASON_CREDENTIAL_INVALID, "The authorization metadata is not a bearer token."
            )
        call.token = header[len(_SCHEME) :].strip()
        identity = cached(call.token) or await verify(call.token)
        call.identity = identity
        if streams:
            call.rechecks.append(lambda: still_valid(identity, call.token))
        if identity.credential not in accepted:
            kind = _KINDS[identity.credential]
            raise Fault(
                reason_pb2.REASON_CREDENTIAL_KIND_NOT_ACCEPTED,
                f"{method.name} does not accept a {kind} credential.",
                metadata={"credential": kind},
            )
        if not streams:
            return await onward(call)
        with road.streams.place(identity):
            return await onward(call)

    return authenticated
