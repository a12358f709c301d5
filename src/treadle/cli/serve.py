"""`treadle serve`: the training service in the foreground."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from pathlib import Path

import click

from treadle.cli.options import DURATION, SIZE, examples
from treadle.home import Home, Lock

__all__ = ["serve"]


def _checked_region(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if value and not re.fullmatch(r"[a-z]{2,}(-[a-z]+)+-[0-9]+", value):
        raise click.BadParameter(f"'{value}' is not a region, such as eu-west-1.")
    return value


@click.command(
    epilog=examples(
        "treadle serve",
        "treadle serve --port 4585",
        "treadle serve --region eu-west-1",
        "treadle serve --stop-grace 10s --max-volume 20GB",
        "treadle serve --webhook https://example.org/hooks/training",
        "treadle serve --host 0.0.0.0 --port 4585 --tls-cert cert.pem --tls-key key.pem",
        "treadle serve --launcher ray --host 0.0.0.0 --port 4585 --tls-cert cert.pem --tls-key key.pem",
        "treadle serve --stop",
    )
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen on. Beyond loopback it takes --tls-cert and --tls-key.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="The port to listen on. Default: that of the last time, else any that is free.",
)
@click.option(
    "--region",
    metavar="REGION",
    default="",
    callback=_checked_region,
    help="The region that the service answers for. Default: that of the last time, at first us-east-1.",
)
@click.option(
    "--sandbox",
    type=click.Choice(["auto", "namespace", "plain", "container"]),
    default="auto",
    show_default=True,
    help="How training programs are isolated. auto: containers for images that are not local, for those that are "
    "namespaces, or plain where these do not work. container: every image is one for Docker or Podman.",
)
@click.option(
    "--stop-grace",
    type=DURATION,
    default="120s",
    show_default=True,
    help="The time between SIGTERM and SIGKILL when a job stops. AWS gives 120 s.",
)
@click.option(
    "--max-volume",
    type=SIZE,
    help="The largest volume that a job gets, however large its VolumeSizeInGB is. Default: what it asks for.",
)
@click.option(
    "--max-log",
    type=SIZE,
    default="1GB",
    show_default=True,
    help="The longest log that a host of a job gets. Of what is more, the last lines are kept.",
)
@click.option(
    "--tls-cert",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A PEM file with the certificate to listen with, and what it is signed by. This machine's own agents and "
    "commands go on without TLS, on loopback.",
)
@click.option("--tls-key", type=click.Path(dir_okay=False, path_type=Path), help="A PEM file with its key.")
@click.option(
    "--advertise",
    metavar="NAME",
    default="",
    help="The name or address by which other machines reach the service. Default: --host, or this machine's name.",
)
@click.option(
    "--launcher",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where training hosts run: on this machine, or on the nodes of a Ray cluster.",
)
@click.option(
    "--ray-address",
    metavar="ADDRESS",
    default="auto",
    show_default=True,
    help="The Ray cluster, HOST:PORT. auto: the one that this machine is a node of.",
)
@click.option(
    "--webhook",
    metavar="URL",
    default="",
    help="A URL that is told of every status change of a job, in the shape of EventBridge's events.",
)
@click.option(
    "--disk-floor",
    type=SIZE,
    default="1GB",
    show_default=True,
    help="What must be free on the disk: with less there are no new jobs.",
)
@click.option(
    "--disk-warn",
    type=SIZE,
    default="5GB",
    show_default=True,
    help="With less free disk than this the log of the service warns.",
)
@click.option("--no-auth", is_flag=True, help="Take requests without a valid signature. Prints a warning.")
@click.option("--stop", "stopping", is_flag=True, help="Stop the service that runs in the background instead.")
@click.option("--embedded", is_flag=True, hidden=True, help="Go away after the last job and client.")
def serve(
    host: str,
    port: int,
    region: str,
    sandbox: str,
    stop_grace: float,
    max_volume: int | None,
    max_log: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    advertise: str,
    launcher: str,
    ray_address: str,
    webhook: str,
    disk_floor: int,
    disk_warn: int,
    no_auth: bool,
    stopping: bool,
    embedded: bool,
) -> None:
    """Run the training service until Ctrl-C. It answers like the SageMaker training API.

    Jobs that run go on when it ends, and are found again when it starts. treadle run --on local starts the service
    by itself; this is the same thing in the foreground.
    """
    home = Home.find()
    if stopping:
        _stop(home)
        return
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together.")
    if ray_address != "auto" and launcher != "ray":
        raise click.UsageError("--ray-address belongs to --launcher ray.")
    from treadle import server  # with everything that it needs
    from treadle.training.room import RoomLimits

    settings = server.Settings(
        host=host,
        port=port,
        region=region,
        sandbox=sandbox,
        auth=not no_auth,
        stop_grace=stop_grace,
        max_volume=max_volume,
        max_log=max_log,
        room=RoomLimits(disk_floor, disk_warn),
        webhook=webhook,
        tls=server.Tls(tls_cert, tls_key) if tls_cert and tls_key else None,
        advertise=advertise,
        launcher=launcher,
        ray_address=ray_address,
    )
    server.serve(home, settings, embedded=embedded)


def _stop(home: Home) -> None:
    endpoint = home.endpoint()
    if endpoint is None:
        click.echo("No service runs.", err=True)
        return
    with contextlib.suppress(ProcessLookupError):  # it went by itself just now
        os.kill(endpoint.pid, signal.SIGTERM)
    home.stay_file.unlink(missing_ok=True)
    # The lock is free when it has gone, whatever became of it.
    Lock.wait(home.service_lock, shared=True).release()
    click.echo("The service has stopped. Jobs that run go on, and are found again at the next start.", err=True)
