"""The argument and the option of all commands that load a model."""

import click

model_argument = click.argument("model", metavar="MODEL")
device_option = click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="Device: auto, cpu, cuda, cuda:N or mps.",
)
