"""Rendering the page's template: all values are escaped, and its policy lets the browser fetch nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...registry import UsageError

if TYPE_CHECKING:
    from jinja2 import Template

    from .numbers import Numbers

FOLDER = Path(__file__).parent


def template() -> Template:
    """The page's template. Raises UsageError where jinja2 is not installed."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise UsageError(
            "a report is made with jinja2, which is not installed here: pip install -e '.[report]'"
        ) from error
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.jinja")


def filled(page: Template, values: Mapping[str, Any], numbers: Numbers) -> str:
    """The page as HTML text."""
    from markupsafe import Markup

    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    return page.render(
        values,
        policy=policy,
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        numbers=numbers,
        data=Markup(numbers.text),
        raw=Markup,
    )
