"""Which methods of the mesh each purpose permits, read from the contracts of every domain."""

from __future__ import annotations

import importlib
import pkgutil

import polyphony
from polyphony.policy.v1 import policy_pb2
from services.compliance.purpose_ids import purpose_id


def methods_by_purpose() -> dict[str, list[str]]:
    """The methods that rest on consent, as ``package.Service/Method``, by the identifier of the purpose."""
    found: dict[str, list[str]] = {}
    for module in pkgutil.walk_packages(polyphony.__path__, "polyphony."):
        if not module.name.endswith("_service_pb2"):
            continue
        file = importlib.import_module(module.name).DESCRIPTOR
        for service in file.services_by_name.values():
            for method in service.methods:
                for use in method.GetOptions().Extensions[policy_pb2.method].purposes:
                    if use.basis in (policy_pb2.LEGAL_BASIS_UNSPECIFIED, policy_pb2.LEGAL_BASIS_CONSENT):
                        name = f"{service.full_name}/{method.name}"
                        found.setdefault(purpose_id(use.purpose), []).append(name)
    return {purpose: sorted(names) for purpose, names in found.items()}
