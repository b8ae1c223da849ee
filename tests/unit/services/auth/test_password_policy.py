"""Which passwords are refused, and that nothing good is."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import services.auth
from services.auth.adapters.common_passwords import read_common_passwords
from services.auth.model.password_policy import PasswordPolicy

LIST = Path(services.auth.__file__).with_name("common_passwords.txt")
POLICY = PasswordPolicy(min_length=12, max_length=256, common=read_common_passwords(LIST))


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("short", "fewer than 12"),
        ("x" * 257, "more than 256"),
        ("abababababab", "repeats"),
        ("password123456", "common"),
        ("P@ssw0rd!!!2024", "common"),
        ("Qwertyuiop12345", "common"),
        ("ILoveYou-1999!!", "common"),
        ("1q2w3e4r5t6789", "common"),
        ("ada.lovelace99", "own"),
        ("Lovelace!!2024", "own"),
    ],
)
def test_it_is_refused_and_says_why(password: str, says: str) -> None:
    weakness = POLICY.weakness(password, own=("ada.lovelace@example.org", "Ada Lovelace"))
    assert weakness is not None
    assert says in weakness
    assert password not in weakness


@pytest.mark.parametrize(
    "password",
    ["purple llama sings at noon", "kV8#mQ2$xZ9&wL", "dvorak-clarinet-53", "пароль-из-четырёх-слов"],
)
def test_it_is_accepted(password: str) -> None:
    assert POLICY.weakness(password, own=("ada@example.org", "Ada")) is None


@given(st.text(max_size=300))
def test_every_text_gets_an_answer(password: str) -> None:
    weakness = POLICY.weakness(password)
    assert weakness is None or weakness.startswith("The password ")


def test_a_core_that_would_eat_every_password_is_refused() -> None:
    with pytest.raises(ValueError, match="three characters"):
        PasswordPolicy(min_length=1, max_length=9, common=frozenset({"a"}))
