"""The throughput table: a row a way to run a model, each with its spread, its ceilings, its memory and its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from .tables import Table

SETTINGS = ("image_size", "batch_size", "precision", "mode", "compile", "memory_format", "timing", "scenario")
HEADINGS = {"image_size": "px", "batch_size": "batch", "memory_format": "layout"}


def throughput_table(frame: pd.DataFrame) -> Table:
    """A row a model and setting: images a second (median and quartiles) or latency (median and p95), with its cost.

    Settings that are the same in all rows stand below. Every verdict other than `valid` has a footnote with its reason.
    """
    from .tables import Table

    settings = [name for name in SETTINGS if name in frame]
    timed = frame[frame["scenario"].notna()] if "scenario" in frame else frame[frame["status"] != "ok"]
    varying = [name for name in settings if timed[name].astype(str).nunique() > 1 or name in SETTINGS[:3]]
    rows, reasons = [], {}
    for keys, part in timed.groupby(["model", "variant", "device", *settings], sort=False, dropna=False):
        value = {str(row["metric"]): float(row["value"]) for row in part[part["status"] == "ok"].to_dict("records")}
        known = dict(zip(["model", "variant", "device", *settings], keys, strict=True))
        value = _facts(frame, known) | value
        bad = part[part["status"] != "ok"]
        verdict = "failed: " + str(bad["error"].iloc[0]) if len(bad) else _verdict(part)
        word = verdict.partition(":")[0]
        if word not in ("valid", ""):
            word += f" {reasons.setdefault(verdict, len(reasons) + 1)}"
        model = f"{known['model']} [{known['variant']}]" if known["variant"] else str(known["model"])
        rows.append((model, *(_word(known[name]) for name in varying), *_cells(value), word))
    fixed = [f"{name}={_word(timed[name].iloc[0])}" for name in settings if name not in varying and len(timed)]
    notes = ["; ".join(filter(None, [*fixed, *_machine(frame)])) + "."]
    notes.append(
        "Images a second: median [quartiles] of timed steps. GFLOP: 2 operations a multiply-accumulate. Of ceiling: "
        "share of the time of the model's own products, each timed alone. Memory: the peak (on a CPU of the process)."
    )
    notes += [f"{number}: {reason}" for reason, number in reasons.items()]
    notes += _cost(frame)
    return Table(
        title="throughput",
        columns=(
            "model",
            *(HEADINGS.get(name, name) for name in varying),
            *("images/s", "latency ms", "p95 ms", "GFLOP", "TFLOP/s", "% of matmul", "% of ceiling", "GiB", "verdict"),
        ),
        rows=tuple(rows),
        labels=1 + len(varying),
        notes=tuple(notes),
    )


def _facts(frame: pd.DataFrame, known: dict[str, Any]) -> dict[str, float]:
    """The numbers of a model and size that need no clock."""
    same = frame[(frame["model"] == known["model"]) & (frame["variant"] == known["variant"]) & frame["scenario"].isna()]
    same = same[same["image_size"] == known.get("image_size")]
    return {str(row["metric"]): float(row["value"]) for row in same.to_dict("records") if row["status"] == "ok"}


def _verdict(part: pd.DataFrame) -> str:
    said = [str(text) for text in part["verdict"] if text]
    return next((text for text in said if text != "valid"), said[0] if said else "")


def _cells(value: dict[str, float]) -> list[str]:
    def cell(name: str, scale: float = 1.0, digits: int = 1) -> str:
        return f"{value[name] / scale:,.{digits}f}" if name in value else ""

    speed = _significant(value.get("images_per_second") or value.get("images_per_second_fastest"))
    if "images_per_second_q25" in value:
        quartiles = (_significant(value[f"images_per_second_{name}"]) for name in ("q25", "q75"))
        speed += " [{}, {}]".format(*quartiles)
    if "largest_batch" in value:
        speed = f"largest batch {value.get('largest_batch_exact', value['largest_batch']):.0f}"
    return [
        speed,
        cell("latency", digits=2),
        cell("latency_p95", digits=2),
        cell("gflops", digits=2),
        _significant(value["achieved_flops"] / 1e12 if "achieved_flops" in value else None),
        cell("share_of_matmul_rate", digits=0),
        cell("share_of_products", digits=0),
        cell("peak_memory", 2**30, 2),
    ]


def _significant(number: float | None) -> str:
    return "" if number is None else f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _machine(frame: pd.DataFrame) -> list[str]:
    """Device and versions, as far as they are the same for all rows."""
    found = []
    for name in ("device", "env.processor", "env.threads", "env.driver", "env.cuda", "env.torch", "env.commit"):
        values = {str(value) for value in frame[name] if str(value)} if name in frame else set()
        if len(values) == 1:
            text = next(iter(values))
            found.append(f"{name.removeprefix('env.')} {text[:10] if name == 'env.commit' else text}")
        elif values:
            found.append(f"{name.removeprefix('env.')} DIFFERS: {', '.join(sorted(values))}")
    return found


def _cost(frame: pd.DataFrame) -> list[str]:
    """What the runs took: core-hours of a CPU, device-hours of a GPU; neither is a TPUv3-core-day."""
    cores, devices = cost(frame)
    said = [f"{cores:.3f} core-hours"] if cores else []
    said += [f"{devices:.3f} device-hours"] if devices else []
    return [f"Cost of these measurements: {' and '.join(said)} (not the papers' TPUv3-core-days)."] if said else []


def cost(frame: pd.DataFrame) -> tuple[float, float]:
    """Core-hours on CPUs (wall time times the threads or cores of the process) and device-hours on GPUs of records.

    Every job counts once, however many numbers it has.
    """
    jobs = frame[frame["seconds"].notna()].assign(job=frame["measurement"].astype(str).str.partition("/")[0])
    jobs = jobs.drop_duplicates(["job", "started_at", "model", "variant"])
    cores = devices = 0.0
    for row in jobs.to_dict("records"):
        hours = float(row["seconds"]) / 3600
        if row["device"] in ("cpu", ""):
            cores += hours * int(row.get("env.threads") or row.get("env.cpus") or 1)
        else:
            devices += hours
    return cores, devices


def _word(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:g}"
    return str(value)
