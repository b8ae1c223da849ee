"""The tables of Envoy's hop and of the mesh's start are made of medians."""

from bench import edge, mesh
from bench.edge import Hop
from bench.h2load import Load
from bench.processes import Memory


def test_what_the_hop_adds_is_a_difference_of_medians() -> None:
    def rounds(*milliseconds: float, envoy: float) -> list[Hop]:
        return [Hop(Load(1_000 / each, each, 3 * each, 50), envoy, 200.0) for each in milliseconds]

    table = edge.report(
        {32: {edge.DIRECT: rounds(1, 2, 90, envoy=0), edge.GRPC: rounds(3, 2.5, 8, envoy=40.4)}}
    )
    assert [row[1:] for row in table.rows] == [
        ["32", "500", "2.00", "+0.00", "6.00", "+0.00", "0", "200"],
        ["32", "333", "3.00", "+1.00", "9.00", "+3.00", "40", "200"],
    ]


def test_starts_are_medians_and_memory_is_summed() -> None:
    assert mesh.times({mesh.SECOND: [4.0, 30.0, 3.0]}).rows == [[mesh.SECOND, "4.0"]]
    found = {"auth": Memory(100 * 2**20, 60 * 2**20), "envoy": Memory(50 * 2**20, 40 * 2**20)}
    assert mesh.memories(found).rows == [
        ["auth", "100", "60"],
        ["envoy", "50", "40"],
        ["together", "", "100"],
    ]
