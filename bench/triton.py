"""Inference through the ai service, on the whole road, against Triton asked directly, with the same trivial model.

Asked directly in two ways: by tritonclient, as a Python program would, and by h2load with the very request of
tritonclient, which shows what Triton itself can do. The ai service is driven by h2load, too.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import defaultdict
from dataclasses import dataclass

import grpc
import numpy as np
import tritonclient.grpc.aio as tritonclient
from tritonclient.grpc import service_pb2

from bench import trivial_model
from bench.h2load import Load, load, program
from bench.live_mesh import LiveMesh, live_mesh
from bench.processes import WorkMeter
from bench.report import Report, median, percentile
from bench.rounds import rounds
from cli.mesh.triton import KEY_HEADER
from polyphony.ai.v1 import inference_service_pb2 as pb
from polyphony.ai.v1.inference_service_pb2_grpc import InferenceServiceStub
from polyphony.policy.v1 import policy_pb2

CALLS = {1: 500, 16: 3_000, 64: 4_000}
"""Calls per round, by how many are made at once."""
ROUNDS = 3
CONNECTIONS = 4
VALUES = (1.0, 2.0, 3.0)

CLIENT, DIRECT, SERVICE = "tritonclient, straight", "h2load, straight", "h2load, ai service"


@dataclass(frozen=True, slots=True)
class Asked:
    """One round of one way: the load, and the microseconds of a core per call that the two processes spent."""

    load: Load
    service: float
    triton: float


Results = dict[int, dict[str, list[Asked]]]
"""By concurrency and by way."""


@dataclass(frozen=True, slots=True)
class _Targets:
    """The same model behind two doors."""

    triton: str
    triton_model: str
    triton_metadata: dict[str, str]
    service: str
    service_model: str
    service_metadata: dict[str, str]


def run() -> None:
    """Measure and publish. Raises MissingTool."""
    program()
    results: Results = defaultdict(lambda: defaultdict(list))
    with (
        live_mesh() as mesh,
        mesh.listener((policy_pb2.PURPOSE_PERSONALISED_RECOMMENDATIONS,)) as person,
    ):
        me = person.who().user
        tenant = me.tenant.rpartition("/")[2]
        named = asyncio.run(trivial_model.register(mesh.settings, tenant, me.name.partition("/")[2]))
        targets = _targets(mesh, *named, dict(person.metadata))
        _check(targets)
        meters = [WorkMeter(mesh.pids()[name]) for name in ("ai", "triton")]
        for _ in rounds(ROUNDS):
            for concurrency, calls in CALLS.items():
                found = results[concurrency]
                for name, way in ((CLIENT, _client), (DIRECT, _direct), (SERVICE, _service)):
                    for meter in meters:
                        meter.start()
                    loaded = way(targets, concurrency, calls)
                    service, triton = (meter.spent() / calls * 1e6 for meter in meters)
                    found[name].append(Asked(loaded, service, triton))
    report(results).publish()


def report(results: Results) -> Report:
    """The report of the rounds."""
    done = len(next(iter(results.values()))[DIRECT])
    table = Report(
        "triton",
        "Inference through the ai service against Triton asked directly",
        f"A model that adds {len(VALUES)} numbers to themselves, one instance; medians of {done} interleaved rounds."
        " Ratio and added p50 are against h2load straight to Triton; core is a core's time that a call takes there.",
        [
            "way",
            "at once",
            "calls/s",
            "ratio",
            "p50 ms",
            "added p50",
            "p99 ms",
            "ai core µs",
            "Triton core µs",
        ],
    )
    for concurrency, ways in results.items():
        base_rate = median([found.load.per_second for found in ways[DIRECT]])
        base_p50 = median([found.load.p50 for found in ways[DIRECT]])
        for way, asked in ways.items():
            rate = median([found.load.per_second for found in asked])
            p50, p99 = (median([getattr(found.load, name) for found in asked]) for name in ("p50", "p99"))
            table.add(
                way,
                concurrency,
                f"{rate:,.0f}",
                f"{rate / base_rate:.2f}",
                f"{p50:.2f}",
                f"{p50 - base_p50:+.2f}",
                f"{p99:.2f}",
                f"{median([found.service for found in asked]):,.0f}",
                f"{median([found.triton for found in asked]):,.0f}",
            )
    most = max(results)
    ai, triton = (
        median([getattr(found, name) for found in results[most][SERVICE]]) for name in ("service", "triton")
    )
    table.notes.append(
        f"At {most} at once a call takes {ai:,.0f} µs of a core in the ai service and {triton:,.0f} in Triton: one"
        f" process of Python can pass on no more than {1e6 / ai:,.0f} calls a second, however fast the model is."
    )
    return table


def _targets(mesh: LiveMesh, model: str, triton_model: str, metadata: dict[str, str]) -> _Targets:
    return _Targets(
        triton=f"127.0.0.1:{mesh.settings.triton_port}",
        triton_model=triton_model,
        triton_metadata={KEY_HEADER: (mesh.settings.keys / "triton.key").read_text().strip()},
        service=mesh.service("ai"),
        service_model=model,
        service_metadata=metadata,
    )


def _content() -> bytes:
    return struct.pack(f"<{len(VALUES)}f", *VALUES)


def _asked(targets: _Targets) -> pb.InferRequest:
    tensor = pb.Tensor(
        name=trivial_model.INPUT,
        datatype=trivial_model.DATATYPE,
        shape=[len(VALUES)],
        raw_contents=_content(),
    )
    return pb.InferRequest(name=targets.service_model, inputs=[tensor], outputs=[trivial_model.OUTPUT])


def _check(targets: _Targets) -> None:
    """Both doors lead to the model, and it answers right; the first call through the service loads it."""
    with grpc.insecure_channel(targets.service) as channel:
        answer = InferenceServiceStub(channel).Infer(
            _asked(targets), metadata=tuple(targets.service_metadata.items()), timeout=30
        )
    doubled = struct.unpack(f"<{len(VALUES)}f", answer.outputs[0].raw_contents)
    if doubled != tuple(2 * value for value in VALUES):
        raise RuntimeError(f"the model answered {doubled}")


def _service(targets: _Targets, concurrency: int, calls: int) -> Load:
    return _load(
        f"http://{targets.service}/polyphony.ai.v1.InferenceService/Infer",
        _asked(targets).SerializeToString(),
        targets.service_metadata,
        concurrency,
        calls,
    )


def _direct(targets: _Targets, concurrency: int, calls: int) -> Load:
    request = service_pb2.ModelInferRequest(
        model_name=targets.triton_model,
        inputs=[
            service_pb2.ModelInferRequest.InferInputTensor(
                name=trivial_model.INPUT, datatype=trivial_model.DATATYPE, shape=[len(VALUES)]
            )
        ],
        outputs=[service_pb2.ModelInferRequest.InferRequestedOutputTensor(name=trivial_model.OUTPUT)],
        raw_input_contents=[_content()],
    )
    return _load(
        f"http://{targets.triton}/inference.GRPCInferenceService/ModelInfer",
        request.SerializeToString(),
        targets.triton_metadata,
        concurrency,
        calls,
    )


def _load(target: str, body: bytes, metadata: dict[str, str], concurrency: int, calls: int) -> Load:
    connections = min(CONNECTIONS, concurrency)
    return load(
        target,
        body,
        metadata,
        calls=calls,
        connections=connections,
        streams=concurrency // connections,
        core=None,
    )


def _client(targets: _Targets, concurrency: int, calls: int) -> Load:
    return asyncio.run(_ask(targets, concurrency, calls))


async def _ask(targets: _Targets, concurrency: int, calls: int) -> Load:
    """tritonclient itself, asynchronous, on one connection."""
    times: list[float] = []
    numbers = iter(range(calls))
    asked = tritonclient.InferInput(trivial_model.INPUT, [len(VALUES)], trivial_model.DATATYPE)
    asked.set_data_from_numpy(np.array(VALUES, np.float32))
    wanted = [tritonclient.InferRequestedOutput(trivial_model.OUTPUT)]
    async with tritonclient.InferenceServerClient(targets.triton) as client:

        async def caller() -> None:
            for _ in numbers:
                began = time.perf_counter()
                await client.infer(
                    targets.triton_model, [asked], outputs=wanted, headers=targets.triton_metadata
                )
                times.append((time.perf_counter() - began) * 1_000)

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(concurrency)))
        seconds = time.perf_counter() - began
    return Load(calls / seconds, percentile(times, 0.5), percentile(times, 0.99), 0)
