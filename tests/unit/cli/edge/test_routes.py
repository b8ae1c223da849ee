"""The routes that come out of the contracts."""

from datetime import timedelta
from typing import Any

import pytest

from cli.edge.contract import EdgeMethod, edge_methods
from cli.edge.render import _fill
from cli.edge.routes import REPEATABLE, UNPROCESSED, routes


def method(**changes: Any) -> EdgeMethod:
    values: dict[str, Any] = {
        "domain": "spotify",
        "service": "polyphony.spotify.v1.UserDataService",
        "name": "GetImport",
        "repeatable": True,
        "client_streams": False,
        "server_streams": False,
        "deadline": timedelta(seconds=10),
        "max_request_bytes": 65_536,
        "has_json": True,
    }
    return EdgeMethod(**{**values, **changes})


def route(**changes: Any) -> Any:
    return routes([method(**changes)], ["spotify"])[0]["route"]


def test_the_last_route_refuses_everything() -> None:
    assert routes([], ["auth"])[-1]["match"] == {"prefix": "/"}
    assert routes([], ["auth"])[-1]["direct_response"]["status"] == 404


def test_every_other_route_is_one_exact_path() -> None:
    rendered = routes(edge_methods(), ["auth", "compliance"])[:-1]
    assert all("path" in entry["match"] for entry in rendered)


def test_what_only_services_may_call_is_not_at_the_edge() -> None:
    services = {found.service for found in edge_methods()}
    assert "polyphony.auth.v1.AuthService" in services
    assert "polyphony.auth.v1.AuthorizationFeedService" not in services
    assert "polyphony.compliance.v1.ConsentFeedService" not in services


@pytest.mark.parametrize(
    ("changes", "conditions"),
    [
        ({}, REPEATABLE),
        ({"server_streams": True}, REPEATABLE),
        ({"repeatable": False}, UNPROCESSED),
        ({"client_streams": True}, UNPROCESSED),
    ],
)
def test_attempts_are_repeated_where_the_contract_allows(changes: dict[str, Any], conditions: str) -> None:
    assert route(**changes)["retry_policy"]["retry_on"] == conditions


def test_a_unary_call_ends_a_little_after_its_own_deadline() -> None:
    assert route()["max_stream_duration"] == {"max_stream_duration": "11s", "grpc_timeout_header_max": "300s"}
    assert route(deadline=timedelta(minutes=10))["max_stream_duration"]["grpc_timeout_header_max"] == "601s"


@pytest.mark.parametrize(
    ("changes", "idle"), [({"server_streams": True}, "3600s"), ({"client_streams": True}, "300s")]
)
def test_a_stream_ends_only_in_silence(changes: dict[str, Any], idle: str) -> None:
    assert route(**changes)["idle_timeout"] == idle
    assert "max_stream_duration" not in route(**changes)


def test_methods_of_a_domain_that_is_not_there_have_no_route() -> None:
    assert not any("UserDataService" in str(entry) for entry in routes([method()], ["auth"]))


def test_a_template_with_an_unknown_name_is_refused() -> None:
    assert _fill({"a": ["${n}", "n"]}, {"n": 7}) == {"a": [7, "n"]}
    with pytest.raises(KeyError):
        _fill({"a": "${missing}"}, {})
