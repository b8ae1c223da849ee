"""Methods by name and requests from JSON."""

import pytest

from cli.client.methods import BadRequestError, Contract, UnknownMethodError

contract = Contract()


@pytest.mark.parametrize(
    "name",
    [
        "polyphony.auth.v1.AuthService/WhoAmI",
        "/polyphony.auth.v1.AuthService/WhoAmI",
        "AuthService/WhoAmI",
        "AuthService.WhoAmI",
        "WhoAmI",
    ],
)
def test_a_method_is_found_by_as_much_of_its_name_as_is_needed(name: str) -> None:
    assert contract.find(name).path == "/polyphony.auth.v1.AuthService/WhoAmI"


def test_an_unknown_method_lists_what_was_meant() -> None:
    with pytest.raises(UnknownMethodError, match=r"no method is called AuthService/LogInn") as error:
        contract.find("AuthService/LogInn")
    assert "AuthService/" in str(error.value)
    with pytest.raises(UnknownMethodError, match=r"called x/login: polyphony\.auth\.v1\.AuthService/LogIn"):
        contract.find("x/login")


def test_requests_come_from_json() -> None:
    method = contract.find("AuthService/LogIn")
    [request] = method.requests('{"email": "a@b.c"}')
    assert request.SerializeToString() == b"\n\x05a@b.c"


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "not JSON"), ('{"nope": 1}', "nope"), ("[]", "takes one request"), ('{"email": 1}', "email")],
)
def test_json_that_is_no_request_is_refused_with_the_place(text: str, words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        contract.find("AuthService/LogIn").requests(text)
