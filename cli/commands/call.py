"""`polyphony call`."""

import sys
from collections.abc import Iterable
from typing import Annotated, Any

import grpc
import typer
from google.protobuf.message import Message
from rich.console import Console
from rich.syntax import Syntax

from cli.client.demo import credentials_of
from cli.client.faults import AUDIT_TRAILER, describe, trailers
from cli.client.methods import BadRequestError, Contract, Method, UnknownMethodError
from cli.client.session import CallError, Session, edge_channel
from cli.commands.token import Email
from cli.console import Plain, complain, note
from cli.mesh.program import MeshError
from cli.mesh.settings import MeshSettings


def call(
    method: Annotated[str, typer.Argument(metavar="SERVICE/METHOD", help="Such as AuthService/WhoAmI.")],
    request: Annotated[
        str,
        typer.Argument(
            metavar="JSON", help="The request; an array for a client stream; - reads standard input."
        ),
    ] = "{}",
    email: Email = None,
    anonymous: Annotated[bool, typer.Option("--anonymous", help="Send no credential.")] = False,
    bearer: Annotated[
        str | None,
        typer.Option("--token", envvar="POLYPHONY_TOKEN", help="Send this access token; no login."),
    ] = None,
    purpose: Annotated[str | None, typer.Option(help="What for: the call's polyphony-purpose.")] = None,
    seconds: Annotated[
        float | None, typer.Option("--deadline", min=0.001, help="Seconds it may take.")
    ] = None,
    plain: Plain = False,
) -> None:
    """Call a method through the edge and print its answer, and the id of the audit record that the call left."""
    settings, contract = MeshSettings(), Contract()
    try:
        found = contract.find(method)
        requests = found.requests(sys.stdin.read() if request == "-" else request)
        with edge_channel(settings) as channel:
            metadata: list[tuple[str, str]] = [("polyphony-purpose", purpose)] if purpose else []
            if not anonymous:
                access = bearer or Session(channel).log_in(*credentials_of(settings, email))
                metadata.append(("authorization", f"Bearer {access}"))
            _call(channel, contract, found, requests, metadata, seconds, plain)
    except (UnknownMethodError, BadRequestError, CallError, MeshError) as error:
        complain(str(error))
        raise typer.Exit(1) from None


def _call(
    channel: grpc.Channel,
    contract: Contract,
    method: Method,
    requests: list[Message],
    metadata: list[tuple[str, str]],
    seconds: float | None,
    plain: bool,
) -> None:
    """Raises `CallError` when the mesh refuses."""
    # A stream of one for a unary side is the same bytes on the wire, so that one call shape serves all four.
    stream: Any = channel.stream_stream(method.path)
    answers = stream(
        (message.SerializeToString() for message in requests), metadata=metadata, timeout=seconds
    )
    try:
        _print(contract, (method.response(data) for data in answers), plain)
    except grpc.RpcError as error:
        record = trailers(error).get(AUDIT_TRAILER)
        raise CallError(
            "\n".join([*describe(error), *([f"  audit record: {record!s}"] if record else [])])
        ) from None
    except KeyboardInterrupt:
        answers.cancel()
        raise CallError("cancelled") from None
    if record := trailers(answers).get(AUDIT_TRAILER):
        note(f"audit record: {record!s}")


def _print(contract: Contract, answers: Iterable[Message], plain: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for answer in answers:
        text = contract.text(answer)
        if plain or not console.is_terminal:
            print(text, flush=True)
        else:
            console.print(Syntax(text, "json", background_color="default"))
