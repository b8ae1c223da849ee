"""Every RPC says who may call it, on what and what for, and every permission of it can be held by somebody."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from fnmatch import fnmatchcase

import pytest
from google.api import annotations_pb2

from interceptors.purposes import PURPOSES
from polyphony.policy.v1 import policy_pb2
from services.compliance.purposes import CATALOGUE
from tests.contract.catalogue import FILES, METHODS, ROOT, SERVICES, domain_of, name_of

EVERY_METHOD = pytest.mark.parametrize("method", METHODS, ids=name_of)
_VERBS = ("get", "put", "post", "delete", "patch")


def http(method):
    """The HTTP rule of a method, or None."""
    options = method.descriptor.GetOptions()
    return options.Extensions[annotations_pb2.http] if options.HasExtension(annotations_pb2.http) else None


def template(rule):
    """The path template of an HTTP rule."""
    return next(getattr(rule, verb) for verb in _VERBS if getattr(rule, verb))


def rules():
    """The Casbin lines of the policy that auth serves: permission pattern and effect of each `p` line."""
    lines = (ROOT / "services/auth/policy.csv").read_text().splitlines()
    rows = csv.reader((line for line in lines if line and not line.startswith("#")), skipinitialspace=True)
    return [(row[3], row[5]) for row in rows if row[0] == "p"]


def test_the_contract_has_all_the_services_that_clients_rely_on():
    assert {
        "polyphony.auth.v1.AuthService",
        "polyphony.compliance.v1.ConsentService",
        "polyphony.compliance.v1.AuditService",
        "polyphony.spotify.v1.UserDataService",
        "polyphony.ai.v1.RecommendationService",
        "polyphony.ai.v1.TrainingService",
        "polyphony.ai.v1.ModelRegistryService",
        "polyphony.ai.v1.InferenceService",
    } <= set(SERVICES)


@EVERY_METHOD
def test_it_states_its_idempotency(method):
    options = method.descriptor.GetOptions()
    assert options.HasField("idempotency_level"), f"{method.name} needs an idempotency_level"


@EVERY_METHOD
def test_what_has_no_side_effects_keeps_no_answers_and_what_keeps_answers_is_idempotent(method):
    level = method.descriptor.GetOptions().idempotency_level
    if method.retention:
        assert level == 2, f"{method.name} deduplicates retries: it is IDEMPOTENT"
    if level == 1:
        assert not method.retention


@EVERY_METHOD
def test_it_has_an_http_form_or_is_internal(method):
    """What streams towards the server has no JSON form; everything else that a person may call has one."""
    internal = method.credentials == {policy_pb2.CREDENTIAL_SERVICE}
    assert (http(method) is not None) is not (internal or method.descriptor.client_streaming)


@EVERY_METHOD
def test_its_http_path_names_the_bound_resource(method):
    rule = http(method)
    if rule is None or method.binding is None:
        return
    variables = dict(re.findall(r"\{([a-z_.]+)=([^}]+)\}", template(rule)))
    patterns = {re.sub(r"\{[a-z_]+\}", "*", pattern) for pattern in method.binding.patterns}
    assert variables.get(method.binding.field) in patterns


@EVERY_METHOD
def test_what_changes_something_is_no_get(method):
    rule = http(method)
    if rule is not None and method.descriptor.GetOptions().idempotency_level != 1:
        assert not rule.get


def test_no_two_methods_share_an_http_path():
    seen = defaultdict(list)
    for method in METHODS:
        if (rule := http(method)) is not None:
            verb = next(verb for verb in _VERBS if getattr(rule, verb))
            seen[verb, re.sub(r"=[^}]*\}", "}", template(rule)), template(rule)].append(method.name)
    assert [names for names in seen.values() if len(names) > 1] == []


@EVERY_METHOD
def test_its_permission_belongs_to_its_domain(method):
    if method.policy.permission:
        assert method.policy.permission.split(".")[0] == domain_of(method.name)
    else:
        assert method.public


def test_a_permission_means_one_thing():
    """Where methods share a permission, they act on the same type of resource for the same kind of effect."""
    meanings = defaultdict(set)
    for method in METHODS:
        if method.policy.permission:
            kind = method.binding.type if method.binding else ""
            level = method.descriptor.GetOptions().idempotency_level
            meanings[method.policy.permission].add((kind, level))
    assert {permission: found for permission, found in meanings.items() if len(found) > 1} == {}


@pytest.mark.parametrize("permission", sorted({m.policy.permission for m in METHODS} - {""}))
def test_somebody_can_hold_the_permission(permission):
    assert any(fnmatchcase(permission, held) for held, effect in rules() if effect == "allow")


@pytest.mark.parametrize(("held", "effect"), rules())
def test_no_rule_grants_what_does_not_exist(held, effect):
    assert any(fnmatchcase(method.policy.permission, held) for method in METHODS)
    assert effect in ("allow", "deny")


@EVERY_METHOD
def test_every_consent_it_rests_on_can_be_asked_for(method):
    """A purpose with the basis of consent has a notice that people can be shown, in the words of the contract."""
    for purpose, basis in method.purposes.items():
        if basis == policy_pb2.LEGAL_BASIS_CONSENT:
            wording = CATALOGUE.current(PURPOSES[purpose].id).wordings["en"]
            assert (wording.title, wording.text) == (PURPOSES[purpose].title, PURPOSES[purpose].description)


@EVERY_METHOD
def test_personal_data_are_somebodys(method):
    """What binds a person's resource names a subject; only what touches nobody's data says so."""
    if method.binding is not None:
        assert method.subject == policy_pb2.SUBJECT_RESOURCE_OWNER


@pytest.mark.parametrize("number", sorted(PURPOSES))
def test_every_purpose_is_put_in_plain_words(number):
    purpose = PURPOSES[number]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", purpose.id)
    assert purpose.title
    assert purpose.description.endswith(".")
    assert len({known.id for known in PURPOSES.values()}) == len(PURPOSES)


def test_every_file_is_in_its_folder():
    for file in FILES:
        assert file.name.rpartition("/")[0] == file.package.replace(".", "/")
