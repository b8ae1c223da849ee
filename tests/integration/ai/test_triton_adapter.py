"""The Triton adapter against the real tritonserver: load, answer, refuse, unload, and every way it can fail."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.mesh.child import Child
from cli.mesh.triton import CHECKOUT, TritonPaths, prepare, program
from cli.simulation import simulate
from interceptors.faults import Fault
from services.ai.adapters.model_repository import ModelRepository
from services.ai.adapters.triton import Triton
from services.ai.model import TrainingData, Version, VersionName
from services.ai.ports import Array, NotLoaded
from services.ai.training import INPUTS, OUTPUTS, Play, Recipe, Track, Trained, journal_of, train

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def trained(plays: int = 2_000, seed: int = 7) -> tuple[Trained, int]:
    journal = journal_of(
        Play(Track(p.track.uri, p.track.name, p.track.artist, p.track.album), p.ended, p.ms_played, p.skipped)
        for p in simulate(seed=seed, plays=plays, years=1)
        if p.track.show is None
    )
    return train(journal, Recipe()), len(journal.tracks)


def version_of(model: Trained, identifier: str) -> Version:
    return Version(
        id=identifier,
        tenant="t",
        name=VersionName("u", "m", 1),
        digest=model.digest,
        inputs=INPUTS,
        outputs=OUTPUTS,
        data=TrainingData(1, 1, NOW, NOW, "c"),
        quality=model.quality,
        half_life_days=180,
        created=NOW,
    )


def array(name: str, values: list[float], dtype: str) -> Array:
    kinds = {"INT64": np.int64, "FP32": np.float32}
    return Array(name, dtype, (len(values),), np.array(values, kinds[dtype]).tobytes())


def question(seeds: list[float], tracks: int, k: int = 5) -> list[Array]:
    return [
        array("seeds", seeds, "INT64"),
        array("weights", [1.0] * len(seeds), "FP32"),
        array("exclude", [tracks], "INT64"),
        array("now", [0.0], "FP32"),
        array("k", [k], "INT64"),
    ]


@pytest.fixture
async def triton(triton_server: Any) -> AsyncIterator[Triton]:
    adapter = Triton(
        triton_server.endpoint, triton_server.key_file, ModelRepository(triton_server.models, instances=1)
    )
    yield adapter
    await adapter.unload(adapter.present())
    await adapter.close()


async def test_a_version_is_loaded_answers_and_is_unloaded_without_a_trace(
    triton: Triton, triton_server: Any
) -> None:
    model, tracks = trained()
    version = version_of(model, "v-1")
    with pytest.raises(NotLoaded):
        await triton.infer("v-1", question([0], tracks), ["items"], 5.0)
    await triton.load(version, model.model)
    answer = await triton.infer("v-1", question([0, 1], tracks), ["items", "scores", "contributions"], 5.0)
    assert set(answer) == {"items", "scores", "contributions"}
    assert answer["contributions"].shape == (5, 2)
    scores = np.frombuffer(answer["scores"].data, np.float64)
    contributions = np.frombuffer(answer["contributions"].data, np.float64).reshape(5, 2)
    assert np.array_equal(contributions.sum(axis=1), scores)
    assert triton.present() == ["v-1"]
    await triton.load(version, model.model)  # once more is harmless
    await triton.unload(["v-1"])
    assert triton.present() == []
    assert list(triton_server.models.glob("*v-1*")) == []
    with pytest.raises(NotLoaded):
        await triton.infer("v-1", question([0], tracks), ["items"], 5.0)
    await triton.unload(["v-1", "never-there"])


async def test_two_versions_are_held_side_by_side(triton: Triton) -> None:
    one, tracks_one = trained(seed=1)
    two, tracks_two = trained(seed=2)
    await triton.load(version_of(one, "v-a"), one.model)
    await triton.load(version_of(two, "v-b"), two.model)
    await triton.unload(["v-a"])
    with pytest.raises(NotLoaded):
        await triton.infer("v-a", question([0], tracks_one), ["items"], 5.0)
    assert (await triton.infer("v-b", question([0], tracks_two), ["items"], 5.0))["items"].shape == (5,)


async def test_tensors_that_the_model_cannot_take_are_refused_with_the_reason(triton: Triton) -> None:
    model, tracks = trained()
    await triton.load(version_of(model, "v-2"), model.model)
    out_of_range = question([tracks + 7], tracks)
    unequal = [array("seeds", [1, 2, 3], "INT64"), *question([1, 2], tracks)[1:]]
    missing = question([1], tracks)[1:]
    for inputs in (out_of_range, unequal, missing):
        with pytest.raises(Fault) as refused:
            await triton.infer("v-2", inputs, ["items"], 5.0)
        assert refused.value.name == "TENSOR_MISMATCH"


async def test_bytes_that_are_not_the_registered_ones_are_never_placed(triton: Triton) -> None:
    model, _ = trained()
    version = replace(version_of(model, "v-3"), digest="0" * 64)
    with pytest.raises(Fault) as refused:
        await triton.load(version, model.model)
    assert refused.value.name == "MODEL_UNAVAILABLE"
    assert triton.present() == []


async def test_a_broken_model_is_refused_by_triton_and_said_to_be_unavailable(triton: Triton) -> None:
    model, _ = trained()
    broken = Trained(b"not onnx", "", model.quality)
    version = replace(version_of(broken, "v-4"), digest=hashlib.sha256(broken.model).hexdigest())
    with pytest.raises(Fault) as refused:
        await triton.load(version, broken.model)
    assert refused.value.name == "MODEL_UNAVAILABLE"


async def test_a_deadline_that_has_passed_and_one_that_passes(triton: Triton) -> None:
    model, tracks = trained()
    await triton.load(version_of(model, "v-5"), model.model)
    for timeout in (0.0, 0.0001):
        with pytest.raises(Fault) as refused:
            await triton.infer("v-5", question([0], tracks), ["items"], timeout)
        assert refused.value.name == "DEADLINE_EXCEEDED"


async def test_a_triton_that_is_not_there_or_another_key(tmp_path: Path, triton_server: Any) -> None:
    model, tracks = trained()
    other_key = tmp_path / "key"
    other_key.write_text("guess")
    for endpoint, key in (
        ("127.0.0.1:1", triton_server.key_file),
        (triton_server.endpoint, other_key),
        (triton_server.endpoint, tmp_path / "missing"),
    ):
        adapter = Triton(endpoint, key, ModelRepository(tmp_path / "models", instances=1))
        for attempt in (
            adapter.infer("v", question([0], tracks), ["items"], 2.0),
            adapter.load(version_of(model, "v"), model.model),
            adapter.unload(["v"]),
        ):
            with pytest.raises(Fault) as refused:
                await attempt
            assert refused.value.name == "MODEL_UNAVAILABLE"
        await adapter.close()


async def test_what_cannot_be_unloaded_now_is_gone_from_the_disk_and_remembered(
    triton: Triton, triton_server: Any
) -> None:
    model, tracks = trained()
    await triton.load(version_of(model, "v-6"), model.model)
    cut_off = Triton(
        "127.0.0.1:1", triton_server.key_file, ModelRepository(triton_server.models, instances=1)
    )
    with pytest.raises(Fault):
        await cut_off.unload(["v-6"])
    assert list(triton_server.models.rglob("model.onnx")) == []
    assert triton.present() == ["v-6"]
    await triton.unload(triton.present())
    assert triton.present() == []
    with pytest.raises(NotLoaded):
        await triton.infer("v-6", question([0], tracks), ["items"], 5.0)
    await cut_off.close()


async def test_a_triton_that_was_killed_and_started_again(tmp_path: Path) -> None:
    key_file = tmp_path / "triton.key"
    key_file.touch(mode=0o600)
    key_file.write_text("secret")
    paths = TritonPaths(CHECKOUT / ".venv-triton", tmp_path / "triton", key_file)
    prepare(paths)
    ports = random.sample(range(20_000, 32_000), 2)
    server = Child(program(paths, *ports), tmp_path / "log")
    adapter = Triton(f"127.0.0.1:{ports[0]}", key_file, ModelRepository(paths.models, instances=1))
    model, tracks = trained()
    try:
        server.wait_ready(30)
        await adapter.load(version_of(model, "v"), model.model)
        assert await adapter.infer("v", question([0], tracks), ["items"], 5.0)
        server.stop()
        with pytest.raises(Fault) as refused:
            await adapter.infer("v", question([0], tracks), ["items"], 5.0)
        assert refused.value.name == "MODEL_UNAVAILABLE"
        server = Child(program(paths, *ports), tmp_path / "log")
        server.wait_ready(30)
        await _until_not_loaded(adapter, question([0], tracks))
        await adapter.load(version_of(model, "v"), model.model)
        assert await adapter.infer("v", question([0], tracks), ["items"], 5.0)
    finally:
        server.stop()
        await adapter.close()


def test_a_draft_of_a_killed_process_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".listening-v.999999999" / "1").mkdir(parents=True)
    (tmp_path / "somebody-elses").mkdir()
    assert ModelRepository(tmp_path, instances=1).present() == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["somebody-elses"]


async def _until_not_loaded(adapter: Triton, inputs: Any) -> None:
    """The channel finds the new server within its backoff: until then it says that there is none."""
    for _ in range(100):
        try:
            await adapter.infer("v", inputs, ["items"], 5.0)
        except NotLoaded:
            return
        except Fault as fault:
            if fault.name != "MODEL_UNAVAILABLE":
                raise
        await asyncio.sleep(0.1)
    pytest.fail("the server that was started again is not found")
