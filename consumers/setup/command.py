"""The command that installs the engine and makes models."""

import os

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--model",
    "models",
    multiple=True,
    default=("smollm2",),
    show_default=True,
    metavar="NAME",
    help="smollm2 (chat), minilm (embeddings) or tiny (for tests); may be repeated.",
)
@click.option(
    "--engine/--no-engine", "engine", default=True, help="Install vLLM, or make models only."
)
def command(models: tuple[str, ...], engine: bool) -> None:
    """Install the real engine into this environment, and make small models for it.

    Without a GPU it takes a minute or two and 3 GB, once. Prints the directory of each model.
    """
    from consumers.setup.engine import ensure_engine
    from consumers.setup.models import cache_dir, check_model, ensure_model
    from consumers.setup.report import Report

    # Before gigabytes are on their way.
    for name in models:
        check_model(name)
    report = Report()
    cache = cache_dir(os.environ)
    if engine and not ensure_engine(cache, report):
        return
    for name in models:
        with report.step(f"model {name}") as step:
            path = ensure_model(name, cache, say=step.note)
        click.echo(path)
