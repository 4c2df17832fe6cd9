"""danlu: your images and a budget in, the smallest, fastest network that keeps the accuracy out.

One file per verb; each imports what it needs when it is called, so that --help answers without loading torch.
"""

import importlib

import typer

VERBS = (
    "optimize", "train", "compare", "evaluate", "score", "profile", "advise", "compress", "search", "sensitivity", "export",
    "exits", "bench", "lr_find", "diagnose", "view", "check", "pack", "unpack", "inspect", "list", "show", "atlas",
)  # fmt: skip

app = typer.Typer(
    name="danlu",
    help="Your images and a budget in; the smallest, fastest vision network that keeps the accuracy out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register() -> None:
    """Attach every verb: the function `run` of danlu/cli/<verb>.py."""
    for name in VERBS:
        module = importlib.import_module(f"danlu.cli.{'listing' if name == 'list' else name}")
        app.command(name.replace("_", "-"))(module.run)


def main() -> None:
    """The console entry point."""
    register()
    app(prog_name="danlu")


if __name__ == "__main__":
    main()
