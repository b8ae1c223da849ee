"""Resource names (AIP-122) and how a request names the resource that it acts on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from google.protobuf import descriptor
from google.protobuf.message import Message

SELF = "me"
"""`users/me` names the caller."""

_SEGMENT = r"[a-z0-9][a-z0-9-]{0,63}"
_VARIABLE = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Binding:
    """The resource type, the path of the request field that names it, and the accepted name patterns."""

    type: str
    field: str
    patterns: tuple[str, ...]

    @cached_property
    def _path(self) -> tuple[str, ...]:
        return tuple(self.field.split("."))

    @cached_property
    def _names(self) -> re.Pattern[str]:
        return re.compile(
            "|".join(_expression(pattern, index) for index, pattern in enumerate(self.patterns))
        )

    def problem(self, request: descriptor.Descriptor) -> str | None:
        """Why the binding does not fit the request type, or None where it does."""
        if not self.patterns or not all(pattern.startswith("users/{user}") for pattern in self.patterns):
            return f"binds {self.type} with a pattern that does not begin with users/{{user}}"
        current: descriptor.Descriptor | None = request
        for depth, part in enumerate(self._path):
            found = current.fields_by_name.get(part) if current is not None else None
            if found is None or found.is_repeated:
                return f"binds the field {self.field!r}, which its request does not have"
            current = found.message_type
            if depth == len(self._path) - 1 and found.type != found.TYPE_STRING:
                return f"binds the field {self.field!r}, which is no string"
        return None

    def read(self, request: Message) -> str:
        """The name in the request; empty where it is not set."""
        value: object = request
        for part in self._path:
            value = getattr(value, part)
        return str(value)

    def write(self, request: Message, name: str) -> None:
        """Replace the name in the request."""
        holder: object = request
        for part in self._path[:-1]:
            holder = getattr(holder, part)
        setattr(holder, self._path[-1], name)

    def present(self, request: Message) -> bool:
        """True where the message that holds the name is set; false for a stream's later parts."""
        holder = request
        for part in self._path[:-1]:
            if not holder.HasField(part):
                return False
            holder = getattr(holder, part)
        return True

    def owner(self, name: str) -> str | None:
        """The `{user}` part of a name, or None where the name fits no pattern."""
        if (match := self._names.fullmatch(name)) is None:
            return None
        return match[match.lastgroup] if match.lastgroup else None


def _expression(pattern: str, index: int) -> str:
    """A regular expression whose last (and only) group is the owner; the other variables are not captured."""
    parts = _VARIABLE.split(pattern)
    text = re.escape(parts[0])
    for variable, literal in zip(parts[1::2], parts[2::2], strict=True):
        text += f"(?P<user{index}>{_SEGMENT})" if variable == "user" else f"(?:{_SEGMENT})"
        text += re.escape(literal)
    return f"(?:{text})"
