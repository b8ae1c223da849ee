"""A channel to the edge, and the calls that let a person in."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from cli.client.faults import describe
from cli.mesh.control import running
from cli.mesh.program import MeshError
from cli.mesh.settings import MeshSettings
from polyphony.auth.v1 import auth_service_pb2, auth_service_pb2_grpc

SECONDS = 20.0
"""How long one of these calls may take."""


class CallError(Exception):
    """The mesh refused a call. The text says why, in one or several lines."""


@contextmanager
def edge_channel(settings: MeshSettings) -> Iterator[grpc.Channel]:
    """A channel to the mesh of these settings. Raises `MeshError` when it does not run."""
    if running(settings.home) is None:
        raise MeshError("Polyphony is not running; start it with: polyphony up")
    with grpc.insecure_channel(f"127.0.0.1:{settings.http_port}") as channel:
        yield channel


class Session:
    """The door of the mesh."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._auth = auth_service_pb2_grpc.AuthServiceStub(channel)

    def sign_up(self, email: str, password: str, name: str) -> bool:
        """Open an account. Returns False when there is one with this address. Raises `CallError`."""
        request = auth_service_pb2.SignUpRequest(email=email, password=password, display_name=name)
        try:
            self._auth.SignUp(request, timeout=SECONDS)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.ALREADY_EXISTS:
                return False
            raise CallError("\n".join(describe(error))) from None
        return True

    def log_in(self, email: str, password: str) -> str:
        """An access token. Raises `CallError`."""
        request = auth_service_pb2.LogInRequest(email=email, password=password)
        try:
            return str(self._auth.LogIn(request, timeout=SECONDS).tokens.access_token)
        except grpc.RpcError as error:
            raise CallError("\n".join(describe(error))) from None
