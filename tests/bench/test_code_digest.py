"""The digest of code: moves and what is imported for type checking do not count; tokens are Python's own."""

from __future__ import annotations

import io
import sys
import tokenize
from pathlib import Path

import pytest
from vit_bench.bench import fingerprint as identity
from vit_bench.bench.fingerprint import PACKAGE, ROOT, code_sha


def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> None:
    """A package of these modules in place of ours: `sub__b="…"` is sub/b.py."""
    for name, text in files.items():
        path = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    identity._code.cache_clear()
    identity.code_sha.cache_clear()


def test_a_move_changes_no_digest_and_another_module_of_the_same_name_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = "def f():\n    return 1\n", "def f():\n    return 2\n"
    package(tmp_path / "here", monkeypatch, a="from .b import f\nx = f()\n", b=one, c=two)
    before = code_sha("a")
    package(tmp_path / "moved", monkeypatch, a="from .sub.b import f\nx = f()\n", sub__b=one, c=two)
    assert code_sha("a") == before
    package(tmp_path / "other", monkeypatch, a="from .c import f\nx = f()\n", b=one, c=two)
    assert code_sha("a") != before
    both = "from .b import f\nfrom .c import f as g\nx = f()\n"
    package(tmp_path / "both", monkeypatch, a=both, b=one, c=two)
    before = code_sha("a")
    package(tmp_path / "swapped", monkeypatch, a=both.replace(".b", ".x").replace(".c", ".b").replace(".x", ".c"),
            b=one, c=two)  # fmt: skip
    assert code_sha("a") != before, "the same two modules, under each other's names"


def test_imports_for_type_checking_alone_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "if TYPE_CHECKING:\n    from .b import T\n\ndef f():\n    from . import (\n        c,\n        d as e,\n    )\n"
    )
    package(tmp_path / "p", monkeypatch, a=text, b="", c="from .e import x\n", d="", e="x = 1\n")
    assert identity._closure(["a"]) == {"a", "c", "d", "e"}


@pytest.mark.slow
def test_our_tokens_are_pythons() -> None:
    """Python's own tokenizer is the oracle, on every file of ours, but for f-strings, which newer ones take apart."""
    for path in ROOT.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        lines: list[str] = []
        tokens: list[tokenize.TokenInfo] = []
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NEWLINE:
                if not (len(tokens) == 1 and tokens[0].type == tokenize.STRING):
                    lines.append("".join(each.string for each in tokens))
                tokens = []
            elif token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT):
                tokens.append(token)
        ours = ["".join(tokens) for _, tokens in identity._lines(text)]
        if sys.version_info < (3, 12) or not any("f'" in line or 'f"' in line for line in lines):
            assert ours == lines, path


def test_the_names_of_the_package() -> None:
    assert PACKAGE == "vit_bench"
    assert Path(__file__).parents[2].samefile(ROOT)
