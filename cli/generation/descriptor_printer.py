"""Prints a file descriptor back as `.proto` source.

Some packages ship a contract only as a serialized descriptor, while protoc, buf and their plugins want text. This
printer covers proto2 files made of messages, enums, oneofs, extensions and options of any kind. What it does not
cover (services, groups, maps, proto3, editions) is refused rather than printed wrongly. Comments are not part of a
stripped descriptor, so there are none.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.message import Message

_LAST_FIELD_NUMBER = 2**29 - 1
_LAST_ENUM_NUMBER = 2**31 - 1
_OPTIONS_FILE = descriptor_pb2.DESCRIPTOR.name
_INDENT = "  "


class UnprintableDescriptor(ValueError):
    """The descriptor uses a construct that this printer does not know."""


def print_file(file: FileDescriptorProto, imports: Iterable[FileDescriptorProto]) -> str:
    """Returns `file` as proto2 source that compiles back to an equal descriptor.

    `imports` are the files it needs, transitively and in dependency order: options may be extensions declared in any
    of them or in the file itself. Raises UnprintableDescriptor for a construct that is not supported.
    """
    return "\n".join(_Printer(file, imports).lines()) + "\n"


class _Printer:
    def __init__(self, file: FileDescriptorProto, imports: Iterable[FileDescriptorProto]) -> None:
        if file.syntax not in ("", "proto2"):
            raise UnprintableDescriptor(f"{file.name}: only proto2 can be printed, this is {file.syntax}")
        if file.service:
            raise UnprintableDescriptor(f"{file.name}: services cannot be printed")
        self._file = file
        # A pool of its own, in which the option extensions are known: elsewhere they are unknown fields.
        self._pool = descriptor_pool.DescriptorPool()
        needed = {known.name: known for known in imports}
        if _OPTIONS_FILE not in needed:
            self._pool.AddSerializedFile(descriptor_pb2.DESCRIPTOR.serialized_pb)
        for dependency in needed.values():
            self._pool.Add(dependency)
        self._pool.Add(file)

    def lines(self) -> Iterator[str]:
        file = self._file
        yield 'syntax = "proto2";'
        if file.package:
            yield f"\npackage {file.package};"
        yield ""
        for index, path in enumerate(file.dependency):
            kind = (
                "public "
                if index in file.public_dependency
                else "weak "
                if index in file.weak_dependency
                else ""
            )
            yield f"import {kind}{_quote(path)};"
        for name, value in self._options(file.options):
            yield f"option {name} = {value};"
        yield from self._extensions(file.extension, "")
        for message in file.message_type:
            yield from self._message(message, "")
        for enum in file.enum_type:
            yield from self._enum(enum, "")

    def _message(self, message: DescriptorProto, indent: str) -> Iterator[str]:
        if message.options.map_entry:
            raise UnprintableDescriptor(f"{self._file.name}: map fields cannot be printed ({message.name})")
        inner = indent + _INDENT
        yield f"\n{indent}message {message.name} {{"
        for name, value in self._options(message.options):
            yield f"{inner}option {name} = {value};"
        for nested in message.nested_type:
            yield from self._message(nested, inner)
        for enum in message.enum_type:
            yield from self._enum(enum, inner)
        yield from self._fields(message, inner)
        for extensions in message.extension_range:
            if extensions.HasField("options"):
                raise UnprintableDescriptor(
                    f"{self._file.name}: {message.name} has options on extension ranges"
                )
            yield f"{inner}extensions {_span(extensions.start, extensions.end - 1, _LAST_FIELD_NUMBER)};"
        for numbers in message.reserved_range:
            yield f"{inner}reserved {_span(numbers.start, numbers.end - 1, _LAST_FIELD_NUMBER)};"
        yield from _reserved_names(message.reserved_name, inner)
        yield from self._extensions(message.extension, inner)
        yield f"{indent}}}"

    def _fields(self, message: DescriptorProto, indent: str) -> Iterator[str]:
        def group(field: FieldDescriptorProto) -> int:
            return field.oneof_index if field.HasField("oneof_index") else -1

        for index, fields in groupby(message.field, key=group):
            if index < 0:
                for field in fields:
                    yield self._field(field, indent, label=True)
                continue
            oneof = message.oneof_decl[index]
            yield f"{indent}oneof {oneof.name} {{"
            for name, value in self._options(oneof.options):
                yield f"{indent}{_INDENT}option {name} = {value};"
            for field in fields:
                yield self._field(field, indent + _INDENT, label=False)
            yield f"{indent}}}"

    def _field(self, field: FieldDescriptorProto, indent: str, *, label: bool) -> str:
        if field.type == FieldDescriptorProto.TYPE_GROUP:
            raise UnprintableDescriptor(f"{self._file.name}: groups cannot be printed ({field.name})")
        type_name = (
            field.type_name or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
        )
        prefix = (
            FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower() + " " if label else ""
        )
        options = list(self._options(field.options))
        if field.HasField("default_value"):
            options.insert(0, ("default", _default(field)))
        if field.json_name and not field.extendee and field.json_name != _json_name(field.name):
            options.insert(0, ("json_name", _quote(field.json_name)))
        return f"{indent}{prefix}{type_name} {field.name} = {field.number}{_bracketed(options)};"

    def _extensions(self, fields: Iterable[FieldDescriptorProto], indent: str) -> Iterator[str]:
        for extendee, group in groupby(fields, key=lambda field: field.extendee):
            yield f"\n{indent}extend {extendee} {{"
            for field in group:
                yield self._field(field, indent + _INDENT, label=True)
            yield f"{indent}}}"

    def _enum(self, enum: EnumDescriptorProto, indent: str) -> Iterator[str]:
        inner = indent + _INDENT
        yield f"\n{indent}enum {enum.name} {{"
        for name, value in self._options(enum.options):
            yield f"{inner}option {name} = {value};"
        for entry in enum.value:
            yield f"{inner}{entry.name} = {entry.number}{_bracketed(list(self._options(entry.options)))};"
        for numbers in enum.reserved_range:  # Unlike a message's, an enum's range includes its end.
            yield f"{inner}reserved {_span(numbers.start, numbers.end, _LAST_ENUM_NUMBER)};"
        yield from _reserved_names(enum.reserved_name, inner)
        yield f"{indent}}}"

    def _options(self, options: Message) -> Iterator[tuple[str, str]]:
        """The set options as (name, literal), a repeated one once per element."""
        known = message_factory.GetMessageClass(
            self._pool.FindMessageTypeByName(options.DESCRIPTOR.full_name)
        )
        for field, value in known.FromString(options.SerializeToString()).ListFields():
            name = f"(.{field.full_name})" if field.is_extension else field.name
            for element in value if field.is_repeated else [value]:
                yield name, self._literal(field, element)

    def _literal(self, field: FieldDescriptor, value: object) -> str:
        if isinstance(value, Message):
            return f"{{ {text_format.MessageToString(value, as_one_line=True, descriptor_pool=self._pool)} }}"
        if isinstance(value, int) and field.enum_type is not None:
            return field.enum_type.values_by_number[value].name
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str):
            return _quote(value)
        if isinstance(value, int | float):
            return repr(value)
        raise UnprintableDescriptor(
            f"{self._file.name}: option {field.full_name} of type bytes cannot be printed"
        )


def _quote(text: str) -> str:
    """A proto string literal; JSON's escapes are a subset of it for the characters that identifiers and URLs have."""
    return json.dumps(text, ensure_ascii=False)


def _bracketed(options: list[tuple[str, str]]) -> str:
    return f" [{', '.join(f'{name} = {value}' for name, value in options)}]" if options else ""


def _default(field: FieldDescriptorProto) -> str:
    if field.type == FieldDescriptorProto.TYPE_STRING:
        return _quote(field.default_value)
    if field.type == FieldDescriptorProto.TYPE_BYTES:
        return f'"{field.default_value}"'  # A descriptor holds it C-escaped already.
    return field.default_value


def _span(first: int, last: int, greatest: int) -> str:
    if first == last:
        return str(first)
    return f"{first} to {'max' if last == greatest else last}"


def _reserved_names(names: Iterable[str], indent: str) -> Iterator[str]:
    for name in names:
        yield f"{indent}reserved {_quote(name)};"


def _json_name(name: str) -> str:
    """The lowerCamelCase name that protoc derives from a field name."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)
