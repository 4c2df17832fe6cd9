"""What every verb has in common."""

import importlib
import inspect
import subprocess
import sys

import pytest
import typer

from danlu.cli.main import VERBS, app, register

MODULES = {verb: importlib.import_module(f"danlu.cli.{'listing' if verb == 'list' else verb}") for verb in VERBS}


def command(verb: str) -> typer.core.TyperCommand:
    """The verb as the command line builds it."""
    single = typer.Typer(add_completion=False)
    single.command()(MODULES[verb].run)
    return typer.main.get_command(single)  # type: ignore[return-value]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_the_common_options(verb: str) -> None:
    flags = {flag for parameter in command(verb).params for flag in parameter.opts}
    assert {"--json", "--device", "--seed", "--quiet"} <= flags


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    text = inspect.getdoc(MODULES[verb].run)
    assert text
    assert text.split("\n")[0].endswith(".")


def test_the_verbs_are_registered_under_their_names() -> None:
    if not app.registered_commands:
        register()
    assert {command.name for command in app.registered_commands} >= {verb.replace("_", "-") for verb in VERBS}


def test_an_unknown_verb_is_wrong_usage() -> None:
    done = subprocess.run([sys.executable, "-m", "danlu.cli.main", "optimise"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "optimise" in done.stderr
