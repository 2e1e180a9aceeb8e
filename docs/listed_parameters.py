"""Shows the parameters of a docstring, `name   what it is` a line, as a list (mkdocs.yml names this for griffe)."""

from __future__ import annotations

import re
from typing import Any

import griffe

PARAMETER = re.compile(r"^(\w+(?:, \w+)*) {2,}(\S.*(?:\n +\S.*)*)", re.MULTILINE)


class ListedParameters(griffe.Extension):
    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        if func.docstring:
            func.docstring.value = PARAMETER.sub(_point, func.docstring.value)


def _point(found: re.Match[str]) -> str:
    names = ", ".join(f"`{name}`" for name in found[1].split(", "))
    return f"- {names}: {' '.join(found[2].split())}"
