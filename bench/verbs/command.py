"""Makes a command of a verb. In its help, the module's docstring comes first and the function's follows."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable

import typer


def single(verb: Callable[..., None], *more: str) -> typer.Typer:
    """The app of a module with one verb. `more` are further paragraphs of its help."""
    texts = (sys.modules[verb.__module__].__doc__, inspect.getdoc(verb), *more)
    app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    app.command(help="\n\n".join(filter(None, texts)))(verb)
    return app
