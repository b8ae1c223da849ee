"""Under which form an e-mail address names one account."""

import pytest

from services.auth.model.account import address_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada@Example.org", "ada@example.ORG"),
        (" ada@example.org ", "ada@example.org"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@ｅxample.org", "ada@example.org"),
    ],
)
def test_spellings_of_one_address_meet(one: str, other: str) -> None:
    assert address_key(one) == address_key(other)


@pytest.mark.parametrize("other", ["ada+x@example.org", "a.da@example.org", "ada@example.com"])
def test_other_addresses_do_not(other: str) -> None:
    assert address_key("ada@example.org") != address_key(other)
