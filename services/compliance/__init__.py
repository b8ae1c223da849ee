"""Compliance: what people consented to, and the proof of what was done with their data.

The services are imported when they are asked for, because the offline verifier
(:mod:`services.compliance.receipts`) lives here too and must load neither gRPC nor SQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.compliance.audit_servicer import AuditService
    from services.compliance.consent_servicer import ConsentService

__all__ = ["AuditService", "ConsentService"]


def __getattr__(name: str) -> Any:
    if name == "AuditService":
        from services.compliance.audit_servicer import AuditService

        return AuditService
    if name == "ConsentService":
        from services.compliance.consent_servicer import ConsentService

        return ConsentService
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
