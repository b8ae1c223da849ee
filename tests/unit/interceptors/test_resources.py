"""Resource names: who owns what a request names."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptors.resources import Binding
from polyphony.spotify.v1 import user_data_service_pb2 as spotify

SEGMENT = st.from_regex(r"[a-z0-9][a-z0-9-]{0,63}", fullmatch=True)
IMPORTS = Binding("polyphony/Import", "name", ("users/{user}/imports/{import}", "users/{user}/files/{file}"))
USERS = Binding("polyphony/User", "parent", ("users/{user}",))


@given(SEGMENT, SEGMENT, st.sampled_from(["imports", "files"]))
def test_the_owner_of_a_name_is_its_user(user, item, collection):
    assert IMPORTS.owner(f"users/{user}/{collection}/{item}") == user


@given(st.text(max_size=80))
def test_no_other_text_has_an_owner(text):
    owner = USERS.owner(text)
    assert owner is None or text == f"users/{owner}"


@given(
    SEGMENT,
    st.sampled_from(["", "/", "//", "\n", " ", "%2f", "/..", "/imports", "/imports/", "/imports/a/b", "\0"]),
)
def test_what_follows_a_name_makes_it_another_one(user, tail):
    assert IMPORTS.owner(f"users/{user}{tail}") is None


@pytest.mark.parametrize(
    "name",
    ["", "users", "users/", "users/A", "users/-a", "users/a_b", "Users/a", " users/a", "users/ä", "users/" + "a" * 65,
     "users/a\n", "users/../users/b", "users/*", "users/{user}", "tenants/t/users/a"],
)  # fmt: skip
def test_a_name_of_another_form_has_no_owner(name):
    assert USERS.owner(name) is None


@given(SEGMENT)
def test_a_name_is_read_and_written_where_the_path_says(user):
    binding = Binding("t", "header.parent", ("users/{user}",))
    request = SimpleNamespace(header=SimpleNamespace(parent=f"users/{user}"))
    assert binding.read(request) == f"users/{user}"
    binding.write(request, "users/me")
    assert request.header.parent == "users/me"


def test_a_pattern_with_dots_or_brackets_is_taken_literally():
    binding = Binding("t", "name", ("users/{user}/a.b",))
    assert binding.owner("users/x/a.b") == "x"
    assert binding.owner("users/x/aXb") is None


def test_a_name_in_a_part_of_the_stream_is_there_only_where_that_part_is():
    """An import names its person in the header; the chunks after it name nobody."""
    binding = Binding("polyphony/User", "header.parent", ("users/{user}",))
    header = spotify.ImportHistoryRequest(header=spotify.ImportHeader(parent="users/a"))
    chunk = spotify.ImportHistoryRequest(chunk=spotify.ImportChunk(data=b"x"))
    assert (binding.present(header), binding.present(chunk)) == (True, False)
    assert binding.present(spotify.ImportHistoryRequest(header=spotify.ImportHeader()))
    assert USERS.present(spotify.ListPlaysRequest())


def test_a_binding_that_does_not_fit_its_request_says_why():
    request = spotify.ImportHistoryRequest.DESCRIPTOR
    assert Binding("t", "header.parent", ("users/{user}",)).problem(request) is None
    for field in ("parent", "header.nothing", "header.parent.more"):
        problem = Binding("t", field, ("users/{user}",)).problem(request)
        assert problem == f"binds the field {field!r}, which its request does not have"
    for field in ("header.size_bytes", "header"):
        problem = Binding("t", field, ("users/{user}",)).problem(request)
        assert problem == f"binds the field {field!r}, which is no string"
    assert "does not begin with" in str(Binding("t", "header.parent", ()).problem(request))
