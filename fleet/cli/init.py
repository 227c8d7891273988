"""`fleet init`: create streams, buckets and durables."""

import click

from fleet.cli import options


@click.command(name="init")
@click.option(
    "--model",
    "models",
    metavar="NAME",
    multiple=True,
    required=True,
    help="A model's served name, such as `smollm2`. May be given several times.",
)
@click.option(
    "--ack-wait",
    "ack_wait_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    envvar="FLEET_ACK_WAIT_S",
    show_envvar=True,
    default=10.0,
    show_default=True,
    help="Seconds after which a silent consumer's jobs go to another one.",
)
@click.option(
    "--replicas",
    type=click.IntRange(1, 5),
    default=1,
    show_default=True,
    metavar="N",
    help="How many servers keep each stream: 3 in a cluster of three.",
)
@options.nats
def command(models: tuple[str, ...], ack_wait_s: float, replicas: int, nats: str | None) -> None:
    """Create what the fleet needs at the broker, for one or more models.

    Prints the name of each stream, bucket and durable that was made, one a line. What exists is
    left alone, so it is safe to run again; `fleet doctor` tells whether it differs.
    """
    made = options.run(_init(models, ack_wait_s=ack_wait_s, replicas=replicas, url=nats))
    for name in made:
        click.echo(name)
    click.echo(f"{len(made)} made, the rest was there", err=True)


async def _init(
    models: tuple[str, ...], *, ack_wait_s: float, replicas: int, url: str | None
) -> list[str]:

    from fleet.broker.provision import provision
    from fleet.cli.reached import reached

    async with reached(url, name="fleet-init") as connection:
        return await provision(connection, models, ack_wait_s=ack_wait_s, replicas=replicas)
