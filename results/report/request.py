"""The input of a report: the runs, what `bench` adds about their jobs, and what tables and figures need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ..figures import Figure, figures
from ..store import superseded
from ..tables import Facts, TableSpec, tables


@dataclass(frozen=True, kw_only=True)
class JobDetails:
    """What a job's records do not contain: the command that repeats it, its suite's settings, the files it read."""

    command: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReportedRun:
    """One run directory, bundle or CSV."""

    name: str  # as the user typed it, or a label
    frame: pd.DataFrame  # as `load` gives it
    commands: tuple[str, ...] = ()  # that repeat the whole run
    details: Mapping[str, JobDetails] = field(default_factory=dict)  # by the job's key
    note: str = ""  # a warning for the reader


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """The runs of a report, the facts its tables and figures need, and which of these it may show."""

    sources: tuple[ReportedRun, ...]
    facts: Callable[[], Facts] = Facts  # called only if a shown table needs them
    models: pd.DataFrame | None = None  # for figures: columns model, variant, family, macs
    title: str = "vit-bench report"
    mix: bool = False  # whether answers to different questions may share a table or a figure
    baseline: str = ""  # the model that others are compared with at first; "": the best
    version: str = ""
    tables: Mapping[str, TableSpec] = field(default_factory=tables)  # that the report may show
    figures: Mapping[str, Figure] = field(default_factory=figures)

    def frame(self) -> tuple[pd.DataFrame, list[int]]:
        """All records as one frame, and for each record the index of its run in `sources`."""
        frames = [source.frame for source in self.sources]
        frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0].reset_index(drop=True)
        folders = dict.fromkeys(folder for part in frames for folder in part.attrs.get("folders", ()))
        runs = [i for i, part in enumerate(frames) for _ in range(len(part))]
        if len(frames) > 1:
            kept = ~superseded(frame)
            frame, runs = frame[kept].reset_index(drop=True), [run for run, one in zip(runs, kept, strict=True) if one]
        frame.attrs["folders"] = tuple(folders)
        return frame, runs
