"""A run directory and a page of it, whose model and task are called what an attacker would call them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vit_bench.results import report
from vit_bench.results.record import Cell, Record
from vit_bench.results.store import Store, load

EVIL = "<script>document.title='taken'</script>"
EVIL_TASK = '"><img src=x onerror=document.title="taken">'
MODELS = ("ViT-mini", "BiT-mini", EVIL)
TASKS = {"natural": ("digits", EVIL_TASK), "specialized": ("tissue", "sensor", "lesions")}
COMMAND = "python -m bench run suite=vtab-mini model=ViT-mini task=digits out=again"


def run(folder: Path, models: tuple[str, ...] = MODELS) -> Path:
    """A run of the miniature: model i scores 50 + 10 i + the task's number, two seeds 0.5 apart; one job failed."""
    store = Store(folder)
    for i, model in enumerate(models):
        for n, (group, task) in enumerate((group, task) for group, tasks in TASKS.items() for task in tasks):
            key = f"{i}{n:x}".rjust(16, "0")
            base = Record(
                suite="vtab-mini",
                protocol="probe",
                model=model,
                weights="random",
                task=task,
                group=group,
                source="builtin",
                unit="percent",
                n_test=100,
                seconds=3.6,
                device="cpu",
                pretrain="none",
                split_sha=f"split-of-{n}",
                started_at="2026-01-02T03:04:05+00:00",
                question={"task": task, "budget": "1000 images"},
                treatment={"size": [64, 64], "l2": 2.0**i},
                env={"torch": "2.14", "commit": "0123456789abcdef", "dirty": "false", "cpus": "2"},
            )
            made = [
                replace(base, metric="top1", value=50 + 10 * i + n + seed / 2, seed=seed, measurement=f"{key}/{seed}")
                for seed in range(2)
            ]
            made.append(replace(base, metric="majority_rate", value=20.0 + n, measurement=f"{key}/2", treatment={}))
            failed = model == EVIL and task == "lesions"
            if failed:
                made = [replace(base, status="failed", error=f"ValueError: {EVIL} is no model", measurement="")]
            status = "failed" if failed else "ok"
            identity = {"source": "builtin", "settings": {"protocol": "probe"}}
            Store.put(
                store,
                Cell(key=key, slot=key, order=(i, n), identity=identity, status=status, started_at=base.started_at,
                     records=tuple(made)),
            )  # fmt: skip
    return folder


def asked(*folders: Path, **values) -> report.ReportRequest:
    sources = []
    for folder in folders:
        details = {
            cell.key: report.JobDetails(command=COMMAND, settings={"protocol": "probe"}, files=(f"{EVIL}  3 bytes",))
            for cell in Store(folder).cells()
        }
        sources.append(report.ReportedRun(name=folder.name, frame=load(folder), commands=(COMMAND,), details=details))
    return report.ReportRequest(**{"sources": tuple(sources), "version": "1.2"} | values)
