"""The makers of requests are tested themselves: what they call valid is, and what they call broken is, there."""

import protovalidate
import pytest

from tests.contract.catalogue import METHODS, name_of
from tests.contract.requests import minimal, violations


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_the_least_request_keeps_every_bound(method):
    protovalidate.validate(minimal(method))


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_each_violation_breaks_exactly_its_bound(method):
    for violation in violations(method):
        found = protovalidate.collect_violations(violation.request)
        paths = {
            ".".join(
                element.field_name + (f"[{element.subscript.value}]" if element.subscript else "")
                for element in (each.proto.field.elements if each.proto.field is not None else ())
            )
            for each in found
        }
        assert paths == {violation.path}, violation.label


def test_there_are_many():
    assert sum(1 for method in METHODS for _ in violations(method)) > 100
