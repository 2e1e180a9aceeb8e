"""The choices of table and figure options. Imports nothing, so that `--help` need not load the tables."""

from __future__ import annotations

from typing import Literal

Format = Literal["terminal", "github", "latex", "html", "csv", "json"]  # of tables
Show = Literal["ours", "published", "both", "delta"]  # numbers in a table
FigureFormat = Literal["pdf", "png", "svg"]
FigureShow = Literal["both", "ours", "published"]  # points in a figure
