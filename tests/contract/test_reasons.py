"""Every reason says which code it has, what the caller can do, and whether trying again may help."""

import re

import pytest
from google.rpc import code_pb2

from polyphony.errors.v1 import reason_pb2
from tests.contract.catalogue import ROOT

REASONS = [value for value in reason_pb2.Reason.DESCRIPTOR.values if value.number]
EVERY_REASON = pytest.mark.parametrize("reason", REASONS, ids=lambda value: value.name)
TRANSIENT = {code_pb2.UNAVAILABLE, code_pb2.RESOURCE_EXHAUSTED, code_pb2.ABORTED, code_pb2.DATA_LOSS}


def declared(reason):
    return reason.GetOptions().Extensions[reason_pb2.reason]


@EVERY_REASON
def test_it_has_a_precise_code(reason):
    assert reason.name.startswith("REASON_")
    code = declared(reason).code
    assert code not in (code_pb2.OK, code_pb2.UNKNOWN)
    assert (code == code_pb2.INTERNAL) is (reason.name == "REASON_INTERNAL")


@EVERY_REASON
def test_it_says_what_to_do_in_one_sentence(reason):
    assert re.fullmatch(r"[A-Z][^\n]{8,200}\.", declared(reason).remedy)


@EVERY_REASON
def test_only_what_may_pass_is_worth_a_retry(reason):
    if declared(reason).retryable:
        assert declared(reason).code in TRANSIENT


@EVERY_REASON
def test_it_is_explained_in_the_contract(reason):
    source = (ROOT / "proto/polyphony/errors/v1/reason.proto").read_text()
    assert re.search(rf"^  // .+\n  {reason.name} = {reason.number} ", source, re.MULTILINE)


@pytest.fixture(scope="module")
def code():
    folders = (ROOT / "interceptors", ROOT / "services")
    return "\n".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))


@EVERY_REASON
def test_somebody_gives_it(code, reason):
    assert re.search(rf"\b{reason.name}\b", code), (
        "a reason that nobody gives misleads whoever reads the contract"
    )
