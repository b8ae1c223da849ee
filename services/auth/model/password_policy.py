"""Which passwords are refused. After NIST SP 800-63B-4 section 3.1.1: length counts, composition rules do
not exist, and what everybody else chose, or what the account itself says, is refused.

A list of whole passwords finds `password123456` and misses `P@ssword123457`. So the list holds cores, the
words and runs that people build passwords around; a password is refused when nothing of substance is left
after its cores, digits and signs are taken away.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

MIN_SUBSTANCE = 4
"""Letters that must remain beside the common cores and the account's own words."""

_LEET = str.maketrans(
    {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i"}
)


def normalise(password: str) -> str:
    """The form in which a password is judged and hashed: NFKC, so that every keyboard types the same one."""
    return unicodedata.normalize("NFKC", password)


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """The rules for new passwords. `common` holds lower-case cores of at least three characters."""

    min_length: int
    max_length: int
    common: frozenset[str]
    _by_length: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Orders the cores, longest first, so that `password` is taken before `pass`."""
        if any(len(core) < 3 for core in self.common):
            raise ValueError("a common core has at least three characters")
        object.__setattr__(
            self, "_by_length", tuple(sorted(self.common, key=lambda core: (-len(core), core)))
        )

    def weakness(self, password: str, own: Iterable[str] = ()) -> str | None:
        """One sentence on why `password` is refused for an account whose own texts are `own`; None if it is
        good.
        """
        text = normalise(password)
        if len(text) < self.min_length:
            return f"The password has fewer than {self.min_length} characters."
        if len(text) > self.max_length:
            return f"The password has more than {self.max_length} characters."
        folded = text.casefold()
        if len(set(folded)) < 5:
            return "The password repeats fewer than five different characters."
        if self._substance(folded, self._by_length) < MIN_SUBSTANCE:
            return "The password is little more than common words, digits and signs."
        words = sorted({w for text in own for w in _words(text)} | self.common, key=lambda w: (-len(w), w))
        if self._substance(folded, words) < MIN_SUBSTANCE:
            return "The password is little more than the account's own e-mail address or name."
        return None

    @staticmethod
    def _substance(folded: str, cores: Iterable[str]) -> int:
        """How many different letters are left when the cores are taken out, under the kindest reading."""
        plain, unleeted = folded, folded.translate(_LEET)
        for core in cores:
            plain = plain.replace(core, " ")
            unleeted = unleeted.replace(core, " ")
        return min(len({c for c in rest if c.isalpha()}) for rest in (plain, unleeted))


def _words(text: str) -> Iterable[str]:
    """The words of an e-mail address or a name that are long enough to matter."""
    folded = normalise(text).casefold()
    return (word for word in "".join(c if c.isalnum() else " " for c in folded).split() if len(word) >= 3)
