"""An alias that is asked for is held to the form of one that is set: PostgreSQL has no text with a NUL in it."""

import protovalidate
import pytest

from polyphony.ai.v1 import inference_service_pb2, model_registry_service_pb2

VALIDATOR = protovalidate.Validator()


def broken(request: object) -> set[str]:
    return {
        violation.proto.field.elements[0].field_name for violation in VALIDATOR.collect_violations(request)
    }


@pytest.mark.parametrize(
    ("alias", "accepted"),
    [("champion", True), ("a-1", True), ("a\0", False), ("Champion", False), ("-", False), ("a" * 65, False)],
)
def test_both_methods_take_the_same_aliases(alias: str, accepted: bool) -> None:
    for request in (
        inference_service_pb2.InferRequest(alias=alias),
        model_registry_service_pb2.SetAliasRequest(alias=alias),
    ):
        assert ("alias" in broken(request)) is not accepted


def test_no_alias_means_the_champion() -> None:
    assert "alias" not in broken(inference_service_pb2.InferRequest())
