"""How a verb becomes a command: its module's docstring is its first line in help, its function's the rest."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable

import typer


def single(verb: Callable[..., None], *more: str) -> typer.Typer:
    """The app of a module that holds one verb, with more paragraphs for its help."""
    texts = (sys.modules[verb.__module__].__doc__, inspect.getdoc(verb), *more)
    app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    app.command(help="\n\n".join(filter(None, texts)))(verb)
    return app
