"""What a reader chooses of a table or a figure. Nothing is imported here, so that help need not load the tables."""

from __future__ import annotations

from typing import Literal

Format = Literal["terminal", "github", "latex", "html", "csv"]  # of tables
Show = Literal["ours", "published", "both", "delta"]  # what stands in a table
FigureFormat = Literal["pdf", "png", "svg"]
FigureShow = Literal["both", "ours", "published"]  # what is drawn
