"""The `polyphony` command."""

import typer

from cli.commands import call, demo, doctor, down, edge, logs, restart, status, token, up

app = typer.Typer(
    name="polyphony",
    help="A music-AI back end as a mesh of gRPC services in which the contract is the policy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.command("up")(up.up)
app.command("down")(down.down)
app.command("status")(status.status)
app.command("logs")(logs.logs)
app.command("doctor")(doctor.doctor)
app.command("restart")(restart.restart)
app.command("edge")(edge.edge)
app.command("demo")(demo.demo)
app.command("token")(token.token)
app.command("call")(call.call)

if __name__ == "__main__":
    app()
