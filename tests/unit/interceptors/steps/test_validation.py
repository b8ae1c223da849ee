"""A request keeps the bounds of its contract, or each field that does not is named."""

import protovalidate
import pytest
from google.rpc import error_details_pb2, status_pb2

from interceptors.steps.validation import invalid
from polyphony.ai.v1 import recommendation_service_pb2


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"count": -1}, ["count"]),
        ({"count": 1001}, ["count"]),
        ({"text": "x" * 513}, ["text"]),
        ({"text": "x" * 513, "count": 1001}, ["count", "text"]),
        ({"parent": "users/" + "x" * 123}, ["parent"]),
        ({"secret": "x" * 65, "request_id": "x" * 37}, ["request_id", "secret"]),
    ],
)
async def test_every_field_beyond_its_bound_is_named(world, pb, fields, named):
    outcome = await world.call("Echo", pb.EchoRequest(**({"parent": "users/me", "text": "p"} | fields)))
    assert outcome.verdict == ("INVALID_ARGUMENT", "REQUEST_INVALID")
    assert sorted(outcome.fields) == named
    assert "xxx" not in outcome.message
    assert world.record.step == "validation"
    assert world.servicer.seen == []


@pytest.mark.parametrize("fields", [{"count": 0}, {"count": 1000}, {"text": "x" * 512}, {"text": "ä" * 512}])
async def test_the_bound_itself_is_allowed(world, pb, fields):
    outcome = await world.call("Echo", pb.EchoRequest(**({"parent": "users/me", "text": "p"} | fields)))
    assert outcome.verdict == ("OK", "")


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05abc", b"\x0a", b"\x12\x02\xff\xfe"])
async def test_bytes_that_are_no_request_are_malformed(world, body):
    """Cut short, of a wrong wire type, and text that is not UTF-8."""
    outcome = await world.call("Echo", body)
    assert outcome.verdict == ("INVALID_ARGUMENT", "REQUEST_MALFORMED")


async def test_an_unknown_field_of_a_newer_client_is_let_pass(world, pb):
    body = pb.EchoRequest(parent="users/me", text="p").SerializeToString() + b"\xf8\x07\x01"
    assert (await world.call("Echo", body)).verdict == ("OK", "")


def test_a_refusal_fits_into_the_metadata_of_an_answer_however_much_is_wrong():
    """grpc drops metadata above 8 KiB, and with it the code and the reason."""
    request = recommendation_service_pb2.RecommendRequest(parent="users/me", seed_uris=["x" * 300] * 200)
    fault = invalid(protovalidate.Validator().collect_violations(request))
    assert len(fault.details()) + len(fault.message) < 6_000
    details = status_pb2.Status.FromString(fault.details()).details
    bad = error_details_pb2.BadRequest.FromString(details[1].value)
    assert bad.field_violations[0].field == "seed_uris"
    assert 10 < len(bad.field_violations) < 200
    assert fault.message.endswith("and 193 more.")
