"""The road of a call: reusable interceptors that enforce the policy which the contract declares.

`chain(services, ...)` is the one interceptor that any grpc.aio server needs. Domain code raises
`Fault` and reads `current_call()`. What a host must provide stands in `interceptors.ports`.
"""

from interceptors.aio import chain
from interceptors.call import Call, current_call
from interceptors.contract import Contract, ContractError
from interceptors.faults import Fault, FieldViolation, Precondition
from interceptors.identity import Identity
from interceptors.memory import MemoryTransport
from interceptors.road import build_road

__all__ = [
    "Call",
    "Contract",
    "ContractError",
    "Fault",
    "FieldViolation",
    "Identity",
    "MemoryTransport",
    "Precondition",
    "build_road",
    "chain",
    "current_call",
]
