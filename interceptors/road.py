"""The road of a call: its steps in order, and what each needs by default.

Every call takes the same road, unary or stream, over gRPC, gRPC-Web or JSON, on a socket or in
memory. A step that a method's policy gives nothing to do is left out when the method is built.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Any

from interceptors.contract import Contract, MethodContract
from interceptors.ports import (
    AuditSink,
    Authenticator,
    Authorizer,
    ConsentLedger,
    IdempotencyStore,
    RateLimiter,
)
from interceptors.servicer import servicer_endpoint
from interceptors.step import Endpoint, Road, Step
from interceptors.steps.audit import audit
from interceptors.steps.authentication import authentication
from interceptors.steps.authorization import authorization
from interceptors.steps.consent import consent
from interceptors.steps.context import context
from interceptors.steps.faults import faults
from interceptors.steps.idempotency import idempotency
from interceptors.steps.limits import limits
from interceptors.steps.resource_binding import resource_binding
from interceptors.steps.telemetry import telemetry
from interceptors.steps.validation import validation
from interceptors.streams import OpenStreams
from polyphony.policy.v1 import policy_pb2

STEPS: tuple[Step, ...] = (
    telemetry,
    context,
    faults,
    audit,
    limits,
    authentication,
    authorization,
    validation,
    resource_binding,
    consent,
    idempotency,
)
"""The order of the road, from the caller to the handler. An answer goes the same way back."""

DEFAULT_TRACE_RATIO = 0.01
"""The share of calls without a sampled parent that are traced."""


class MissingPort(Exception):
    """The contract asks for a step whose port was not given; the message names both."""


def build_road(
    services: Iterable[str],
    *,
    service: str = "server",
    authenticator: Authenticator | None = None,
    authorizer: Authorizer | None = None,
    consents: ConsentLedger | None = None,
    audit: AuditSink | None = None,
    idempotency: IdempotencyStore | None = None,
    limiter: RateLimiter | None = None,
    digest_key: bytes | None = None,
    trace_ratio: float = DEFAULT_TRACE_RATIO,
) -> Road:
    """The road of one server that answers `services` (full names).

    Raises ContractError where one of their methods or fields has no policy, and MissingPort where a
    policy asks for what nobody provides. Without a `digest_key` a random one is made, so that digests
    in audit records can be compared within one run of the process only.
    """
    contract = Contract(services)
    for method in contract.values():
        needs: tuple[tuple[str, bool, object], ...] = (
            ("authenticator", method.credentials != {policy_pb2.CREDENTIAL_PUBLIC}, authenticator),
            ("authorizer", bool(method.policy.permission), authorizer),
            ("consents", policy_pb2.LEGAL_BASIS_CONSENT in method.purposes.values(), consents),
            ("audit", method.audit_level != policy_pb2.AUDIT_LEVEL_NONE, audit),
            ("idempotency", bool(method.retention), idempotency),
        )
        for port, needed, given in needs:
            if needed and given is None:
                raise MissingPort(f"{method.name} needs a port that was not given: {port}")
    return Road(
        contract=contract,
        service=service,
        authenticator=authenticator,
        authorizer=authorizer,
        consents=consents,
        audit=audit,
        idempotency=idempotency,
        limiter=limiter,
        streams=OpenStreams(authorizer, consents),
        digest_key=digest_key or secrets.token_bytes(32),
        trace_ratio=trace_ratio,
    )


def build_endpoint(road: Road, method: MethodContract, behaviour: Callable[..., Any]) -> Endpoint:
    """One method's way along the whole road to `behaviour`, a servicer's method."""
    endpoint = servicer_endpoint(road, method, behaviour)
    for step in reversed(STEPS):
        endpoint = step(road, method, endpoint)
    return endpoint
