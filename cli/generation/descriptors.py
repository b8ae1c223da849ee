"""Writes the descriptor set that Envoy, the documentation and the tests read."""

from pathlib import Path

from cli.generation.sources import Sources

FILE_NAME = "polyphony.binpb"


def generate(sources: Sources, out: Path) -> None:
    """Writes every file, its imports and its comments as one FileDescriptorSet, byte for byte reproducible."""
    out.mkdir(parents=True)
    (out / FILE_NAME).write_bytes(sources.compiled)
