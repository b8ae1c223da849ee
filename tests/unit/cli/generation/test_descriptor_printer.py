"""The printer is proved by protoc: what it prints compiles back to the descriptor it was given."""

import sys
from pathlib import Path

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from cli.generation import third_party
from cli.generation.descriptor_printer import UnprintableDescriptor, print_file
from cli.generation.tools import run


def compile_back(folder: Path, name: str, source: str) -> FileDescriptorProto:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    compiled = folder / "compiled.binpb"
    includes = [f"-I{folder}", f"-I{third_party.protoc_includes()}", "--retain_options"]
    run(
        [sys.executable, "-m", "grpc_tools.protoc", *includes, f"--descriptor_set_out={compiled}", name],
        cwd=folder,
    )
    return FileDescriptorSet.FromString(compiled.read_bytes()).file[0]


def test_validate_proto_is_printed_without_loss(tmp_path: Path) -> None:
    original = third_party.validate_descriptor()
    printed = print_file(original, third_party.well_known_imports())
    again = compile_back(tmp_path, original.name, printed)
    assert again == original
    assert again.SerializeToString(deterministic=True) == original.SerializeToString(deterministic=True)


EVERYTHING = """
syntax = "proto2";
package sample;
import public "google/protobuf/descriptor.proto";
import "google/protobuf/duration.proto";
option java_package = "org.sample";
option optimize_for = SPEED;
option (note) = { texts: "a\\"b\\\\c" texts: "line\\nend" kind: KIND_LOUD };
message Note { repeated string texts = 1; optional Kind kind = 2; extensions 100 to 199, 300; extensions 1000 to max; }
extend Note { optional int32 volume = 100; }
extend google.protobuf.FileOptions { optional Note note = 51234; }
extend google.protobuf.FieldOptions {
  repeated string tag = 51234;
  optional bool on = 51235;
  optional Kind kind = 51236;
}
enum Kind { option allow_alias = true; KIND_UNSPECIFIED = 0; KIND_LOUD = 1 [deprecated = true]; KIND_STRONG = 1;
  KIND_LOW = -1; reserved 5, 7 to 9, 100 to max; reserved "KIND_OLD"; }
message Everything {
  option deprecated = true;
  message Inner { enum Deep { DEEP_UNSPECIFIED = 0; } optional Deep deep = 1; }
  required string name = 1 [json_name = "title", default = "say \\"hi\\"", (tag) = "one", (tag) = "two"];
  oneof choice { Inner inner = 2 [(on) = false]; bytes raw = 3 [default = "\\001\\"x"]; }
  repeated uint32 numbers = 4 [packed = true];
  optional double ratio = 5 [default = -inf];
  optional Kind kind = 6 [default = KIND_LOUD, (.sample.kind) = KIND_LOW];
  optional google.protobuf.Duration some_long_name_2 = 7 [(tag) = "\\u00e9"];
  reserved 10, 20 to 29, 1000 to max;
  reserved "gone", "past";
  extend Note { optional string loudness = 101; }
}
"""


def test_every_supported_construct_survives(tmp_path: Path) -> None:
    original = compile_back(tmp_path, "original.proto", EVERYTHING)
    printed = print_file(original, third_party.well_known_imports())
    again = compile_back(tmp_path, "again.proto", printed)
    again.name = original.name
    assert text_format.MessageToString(again) == text_format.MessageToString(original)


@pytest.mark.parametrize(
    ("source", "construct"),
    [
        ('syntax = "proto3"; message M { string a = 1; }', "proto2"),
        ('syntax = "proto2"; message M { map<string, string> a = 1; }', "map"),
        ('syntax = "proto2"; message M { optional group G = 1 { optional int32 a = 1; } }', "group"),
        ('syntax = "proto2"; message M {} service S { rpc Call(M) returns (M); }', "service"),
        (
            'syntax = "proto2"; message M { extensions 5 [declaration = { number: 5 reserved: true }]; }',
            "extension ranges",
        ),
    ],
)
def test_what_cannot_be_printed_is_refused(tmp_path: Path, source: str, construct: str) -> None:
    file = compile_back(tmp_path, "refused.proto", source)
    with pytest.raises(UnprintableDescriptor, match=construct):
        print_file(file, [])
