"""Project Wycheproof's JSON Web Signature and Key vectors: none of them is a token or a key of this mesh.

The vectors are not part of the project. POLYPHONY_SHARED names the folder that has them; default: `../shared`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from interceptors.faults import Fault
from polyphony.auth.v1.token_pb2 import JsonWebKey
from services.runtime.key_set import public_key
from services.runtime.tokens import key_id

VECTORS = Path(os.environ.get("POLYPHONY_SHARED", Path(__file__).parents[4].parent / "shared")) / "vectors"


def groups(name: str) -> list[dict[str, Any]]:
    """The test groups of one file; skips where it is absent."""
    file = VECTORS / name
    if not file.exists():
        pytest.skip(f"{file} is absent: the Wycheproof vectors were not tried")
    found: list[dict[str, Any]] = json.loads(file.read_text())["testGroups"]
    return found


def test_no_foreign_signature_is_taken_for_a_token() -> None:
    tried = 0
    for group in groups("wycheproof_json_web_signature_test.json"):
        for test in group["tests"]:
            text = test["jws"] if isinstance(test["jws"], str) else json.dumps(test["jws"])
            with pytest.raises(Fault) as refused:
                key_id(text)
            assert refused.value.name == "CREDENTIAL_INVALID", test["comment"]
            tried += 1
    assert tried > 100


def test_no_foreign_key_is_taken_for_a_verification_key() -> None:
    tried = 0
    for group in groups("wycheproof_json_web_key_test.json"):
        for jwk in [group[kind] for kind in ("public", "private") if kind in group]:
            for each in jwk.get("keys", [jwk]):
                names = {field.name for field in JsonWebKey.DESCRIPTOR.fields}
                given = {name: value for name, value in each.items() if name in names}
                assert public_key(JsonWebKey(**given)) is None, group.get("comment")
                tried += 1
    assert tried > 10
