"""A server refuses to start on a contract that leaves something open, and names all of it at once."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from interceptors import Contract, ContractError
from interceptors.contract import EXEMPT_SERVICES
from polyphony.policy.v1 import policy_pb2
from tests.fixtures.echo import echo_modules
from tests.unit.interceptors.conftest import ECHO

FIELD = descriptor_pb2.FieldDescriptorProto


@pytest.fixture(autouse=True)
def _compiled():
    echo_modules()
    import importlib

    importlib.import_module("echo.v1.bare_pb2")


def test_the_echo_contract_is_complete():
    contract = Contract([ECHO])
    assert len(contract) == 6
    assert set(contract) == {
        f"/{ECHO}/{name}" for name in ("Echo", "Change", "Collect", "Repeat", "Chat", "Ping")
    }


def test_every_problem_of_a_bare_contract_is_named_at_once():
    with pytest.raises(ContractError) as refused:
        Contract(["bare.v1.BareService"])
    assert set(refused.value.problems) == {
        "bare.v1.BareService/Unannotated: has no policy: "
        "option (polyphony.policy.v1.method) with `credentials` is missing",
        "bare.v1.BareService/Unjustified: permission 'bare' is not of the form domain.resource.verb",
        "bare.v1.BareService/Unjustified: another legal basis than consent needs a justification",
        "bare.v1.BareService/Unjustified: audit level NONE needs a justification",
        "bare.v1.BareService/Unjustified: binds the field 'nowhere', which its request does not have",
        "bare.v1.BareRequest.text: has no data class: option (polyphony.policy.v1.field) is missing",
        "bare.v1.BareRequest.counts: has no data class: option (polyphony.policy.v1.field) is missing",
    }
    assert str(refused.value).splitlines() == [
        "the contract cannot be served:",
        *(f"  {problem}" for problem in refused.value.problems),
    ]


def test_only_health_and_reflection_answer_without_a_policy():
    assert {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    } == EXEMPT_SERVICES
    assert len(Contract(EXEMPT_SERVICES)) == 0


def pool_with(
    method: policy_pb2.MethodPolicy | None, *fields: FIELD, nested=(), answered=()
) -> descriptor_pool.DescriptorPool:
    """A pool with one service `made.v1.Made`, whose one method has that policy and a request of those fields."""
    pool = descriptor_pool.DescriptorPool()
    needed = [
        "google/protobuf/descriptor.proto",
        "google/protobuf/duration.proto",
        "google/protobuf/any.proto",
        "google/protobuf/struct.proto",
        "google/protobuf/wrappers.proto",
        "polyphony/policy/v1/policy.proto",
    ]
    from google.protobuf import any_pb2, struct_pb2, wrappers_pb2  # noqa: F401 (adds them to the default pool)

    for name in needed:
        proto = descriptor_pb2.FileDescriptorProto()
        descriptor_pool.Default().FindFileByName(name).CopyToProto(proto)
        pool.Add(proto)
    file = descriptor_pb2.FileDescriptorProto(
        name="made/v1/made.proto", package="made.v1", syntax="proto3", dependency=needed
    )
    request = file.message_type.add(name="Request", field=fields)
    request.nested_type.extend(nested)
    file.message_type.add(name="Response", field=answered)
    rpc = file.service.add(name="Made").method.add(
        name="Do", input_type=".made.v1.Request", output_type=".made.v1.Response"
    )
    if method is not None:
        rpc.options.Extensions[policy_pb2.method].CopyFrom(method)
    pool.Add(file)
    return pool


def policy(**changes) -> policy_pb2.MethodPolicy:
    """A complete policy of a method that anyone may call, changed."""
    complete = {
        "credentials": [policy_pb2.CREDENTIAL_USER],
        "permission": "made.thing.do",
        "purposes": [policy_pb2.PurposePolicyUse(purpose=policy_pb2.PURPOSE_LISTENING_PROFILE)],
    }
    return policy_pb2.MethodPolicy(**(complete | changes))


def problems(method=None, *fields, **more):
    try:
        Contract(["made.v1.Made"], pool_with(method or policy(), *fields, **more))
    except ContractError as error:
        return [problem.removeprefix("made.v1.") for problem in error.problems]
    return []


def test_a_complete_policy_has_no_problem():
    assert problems() == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"credentials": [0]}, "Made/Do: an accepted credential is unspecified"),
        ({"permission": ""}, "Made/Do: permission '' is not of the form domain.resource.verb"),
        ({"permission": "a.b"}, "Made/Do: permission 'a.b' is not of the form domain.resource.verb"),
        ({"purposes": []}, "Made/Do: names no purpose"),
        (
            {"purposes": [policy_pb2.PurposePolicyUse()]},
            "Made/Do: a purpose is unspecified",
        ),
        (
            {"subject": policy_pb2.SUBJECT_RESOURCE_OWNER},
            "Made/Do: its subject owns the resource, but it binds none",
        ),
        (
            {"subject": policy_pb2.SUBJECT_NONE},
            "Made/Do: a purpose rests on consent, but the call has no subject who could consent",
        ),
        (
            {"idempotency_retention": {"seconds": 1}},
            "Made/Do: keeps answers for replays, but its request has no field request_id",
        ),
        (
            {"resource": policy_pb2.ResourceBinding(type="t", field="name", patterns=["things/{thing}"])},
            "Made/Do: binds t with a pattern that does not begin with users/{user}",
        ),
    ],
)
def test_what_a_policy_leaves_open_is_named(changes, complaint):
    assert complaint in problems(policy(**changes))


def text_field(**more):
    return FIELD(name="text", number=1, type=FIELD.TYPE_STRING, label=FIELD.LABEL_OPTIONAL, **more)


def test_an_unclassified_text_is_named():
    assert problems(None, text_field()) == [
        "Request.text: has no data class: option (polyphony.policy.v1.field) is missing"
    ]


def test_an_unclassified_text_of_a_response_is_named():
    assert problems(answered=[text_field()]) == [
        "Response.text: has no data class: option (polyphony.policy.v1.field) is missing"
    ]


def test_a_classified_text_is_not():
    field = text_field()
    field.options.Extensions[policy_pb2.field].data_class = policy_pb2.DATA_CLASS_PUBLIC
    assert problems(None, field) == []


def test_numbers_and_enums_need_no_class():
    assert problems(None, FIELD(name="n", number=1, type=FIELD.TYPE_INT64, label=FIELD.LABEL_OPTIONAL)) == []


@pytest.mark.parametrize(
    "type_name", ["google.protobuf.Any", "google.protobuf.Struct", "google.protobuf.StringValue"]
)
def test_a_field_that_can_hold_anything_is_refused(type_name):
    field = FIELD(
        name="anything",
        number=1,
        type=FIELD.TYPE_MESSAGE,
        type_name=f".{type_name}",
        label=FIELD.LABEL_OPTIONAL,
    )
    assert f"{type_name}: its fields cannot be classified; use a typed message instead" in problems(
        None, field
    )


@pytest.mark.parametrize(
    ("key", "value", "refused"),
    [
        (FIELD.TYPE_STRING, FIELD.TYPE_INT32, True),
        (FIELD.TYPE_INT32, FIELD.TYPE_STRING, True),
        (FIELD.TYPE_INT32, FIELD.TYPE_BYTES, True),
        (FIELD.TYPE_INT32, FIELD.TYPE_INT32, False),
    ],
)
def test_a_map_is_text_where_its_key_or_its_value_is(key, value, refused):
    entry = descriptor_pb2.DescriptorProto(
        name="ThingsEntry",
        field=[
            FIELD(name="key", number=1, type=key, label=FIELD.LABEL_OPTIONAL),
            FIELD(name="value", number=2, type=value, label=FIELD.LABEL_OPTIONAL),
        ],
        options=descriptor_pb2.MessageOptions(map_entry=True),
    )
    field = FIELD(
        name="things",
        number=1,
        type=FIELD.TYPE_MESSAGE,
        type_name=".made.v1.Request.ThingsEntry",
        label=FIELD.LABEL_REPEATED,
    )
    complaint = "Request.things: has no data class: option (polyphony.policy.v1.field) is missing"
    assert problems(None, field, nested=[entry]) == ([complaint] if refused else [])


def test_defaults_of_a_policy_are_the_strict_ones():
    contract = Contract(["made.v1.Made"], pool_with(policy()))
    method = contract["/made.v1.Made/Do"]
    assert method.purposes == {policy_pb2.PURPOSE_LISTENING_PROFILE: policy_pb2.LEGAL_BASIS_CONSENT}
    assert method.subject == policy_pb2.SUBJECT_CALLER
    assert method.audit_level == policy_pb2.AUDIT_LEVEL_CALL
    assert method.audit_required
    assert (method.cost, method.priority) == (1, policy_pb2.PRIORITY_NORMAL)
    assert (method.default_deadline, method.max_request_bytes) == (10.0, 65_536)
    assert not method.public


def test_the_digest_of_a_method_changes_with_its_policy():
    digests = {
        Contract(["made.v1.Made"], pool_with(made))["/made.v1.Made/Do"].digest
        for made in (policy(), policy(permission="made.thing.undo"), policy(cost=2))
    }
    assert len(digests) == 3
