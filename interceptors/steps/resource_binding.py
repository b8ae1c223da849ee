"""Finds the resource that the call acts on, and whether it may be this caller's business.

A permission on the method alone would let any caller who holds it reach every resource. The tenant
never stands in a name: it comes from the credential, and the session layer applies it to each row.
"""

from __future__ import annotations

from google.protobuf.message import Message

from interceptors.call import Call
from interceptors.contract import MethodContract
from interceptors.faults import Fault
from interceptors.resources import SELF
from interceptors.step import Endpoint, Road
from polyphony.errors.v1 import reason_pb2
from polyphony.policy.v1 import policy_pb2

TENANT_SCOPE = "tenant"


def resource_binding(_road: Road, method: MethodContract, onward: Endpoint) -> Endpoint:
    """Bind the resource and the subject; `users/me` becomes the caller in the request that the handler sees."""
    binding = method.binding
    of_caller = method.subject == policy_pb2.SUBJECT_CALLER
    of_owner = method.subject == policy_pb2.SUBJECT_RESOURCE_OWNER
    client_streaming = method.descriptor.client_streaming

    if binding is None:
        if not of_caller:
            return onward

        async def personal(call: Call) -> bytes | None:
            call.subject = call.identity.user
            return await onward(call)

        return personal

    forms = " or ".join(binding.patterns)

    def bind(call: Call, request: Message) -> None:
        name = binding.read(request)
        owner = binding.owner(name)
        if owner is None:
            raise Fault(
                reason_pb2.REASON_REQUEST_INVALID,
                f"The name must have the form {forms}.",
                field=binding.field,
            )
        if owner == SELF:
            owner = call.identity.user
            name = f"users/{owner}{name[len('users/' + SELF) :]}"
            binding.write(request, name)
        if owner != call.identity.user and (call.decision is None or call.decision.scope != TENANT_SCOPE):
            raise Fault(
                reason_pb2.REASON_RESOURCE_NOT_OWNED,
                f"Your roles grant {method.policy.permission} for resources of your own only.",
                field=binding.field,
                metadata={"type": binding.type},
            )
        if call.resource and call.resource != name:
            raise Fault(
                reason_pb2.REASON_REQUEST_INVALID, "A stream acts on one resource.", field=binding.field
            )
        call.resource = name
        if of_owner:
            call.subject = owner
        elif of_caller:
            call.subject = call.identity.user

    def bind_arrived(call: Call, request: Message) -> None:
        if binding.present(request) and binding.read(request):
            bind(call, request)

    async def bound(call: Call) -> bytes | None:
        call.step = "resource_binding"
        if not client_streaming:
            assert call.request is not None
            bind(call, call.request)
            return await onward(call)
        first = await call.read()
        if first is None or not binding.present(first):
            raise Fault(
                reason_pb2.REASON_REQUEST_INVALID,
                f"The first message of the stream must set {binding.field}.",
                field=binding.field,
            )
        bind(call, first)
        call.first = first
        call.arrived.append(lambda request: bind_arrived(call, request))
        return await onward(call)

    return bound
