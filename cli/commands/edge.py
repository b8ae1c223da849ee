"""`polyphony edge`."""

from cli.mesh.blueprint import edge_of
from cli.mesh.envoy import as_yaml
from cli.mesh.settings import MeshSettings


def edge() -> None:
    """Print Envoy's configuration as the contracts and the settings make it; nothing is started."""
    print(as_yaml(edge_of(MeshSettings(), {})), end="")
