"""The throughput tables: a row a way to run a model, its spread, ceilings, memory and verdict; and published speeds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ...random_weights import is_random
from .. import published
from ..cost import cost_note
from .cells import Printed
from .grid import Grid
from .rows import measurements
from .table import Request, Table

if TYPE_CHECKING:
    import pandas as pd

SETTINGS = ("image_size", "batch_size", "precision", "mode", "compile", "memory_format", "timing", "scenario")
HEADINGS = {"image_size": "px", "batch_size": "batch", "memory_format": "layout"}
KEYS = ("model", "variant", "weights", "device")
SHOWN = {  # columns that always stand, and the metrics in them
    "images/s": ("images_per_second", "images_per_second_fastest", "largest_batch", "largest_batch_exact"),
    "latency ms": ("latency",),
    "p95 ms": ("latency_p95",),
    "TFLOP/s": ("achieved_flops",),
    "% of matmul": ("share_of_matmul_rate",),
    "% of ceiling": ("share_of_products",),
    "GiB": ("peak_memory",),
}
OPTIONAL = {  # columns that stand where there is something in them, and the metrics in them
    "fwd + bwd + opt ms": ("forward_time", "backward_time", "optimizer_time"),
    "J an image": ("energy_per_image",),
    "W": ("mean_power",),
}
FACTS = ("parameters", "parameters_backbone", "parameters_head", "gmacs", "gflops")  # what needs no clock


def throughput_table(frame: pd.DataFrame) -> Table:
    """A row a model and setting: images a second (median and quartiles) or latency (median and p95), with its cost.

    Settings that are the same in all rows stand below. Every verdict other than `valid` has a footnote with its reason.
    Records of other projects (`import timm`) have what those state, and `published` for a verdict.
    """
    frame = _with_settings(frame)
    timed = _alone(frame[~frame["metric"].isin(FACTS)])
    varying, fixed = _settings(timed)
    extra = {name: metrics for name, metrics in OPTIONAL.items() if timed["metric"].isin(metrics).any()}
    rows, reasons = [], {}
    sources: dict[tuple[int, int], tuple[str, ...]] = {}
    for known, part in _groups(timed):
        bad = part[part["status"] != "ok"]
        said = "failed: " + str(bad["error"].iloc[0]) if len(bad) else _verdict(part)
        labels = (_model(known), *(_word(known[name]) for name in varying))
        for column, metrics in enumerate((SHOWN | extra).values(), start=len(labels)):
            if behind := measurements(part[part["metric"].isin(metrics)]):
                sources[len(rows), column] = behind
        value = _values(part)
        cells = (*_cells(value, _limits(part)), *(_optional(value)[name] for name in extra))
        rows.append((*labels, *cells, _noted(said, reasons)))
    source = _source(frame)
    notes = ["; ".join(filter(None, [*fixed, *([source] if source else _machine(frame))])) + "."]
    if not source:
        notes.append(
            "Images a second: median [quartiles] of timed steps. Of matmul: achieved FLOP/s over the device's best "
            "matrix product. Of ceiling: share of the time of the model's own products, each timed alone. GiB: the "
            "peak of memory (on a CPU of the process)."
        )
    notes += _samples(timed)
    notes += [f"{number}: {reason}" for reason, number in reasons.items()]
    notes += cost_note(frame)
    return Table(
        title="throughput, published elsewhere" if source else "throughput",
        columns=(
            "model",
            *(HEADINGS.get(name, name) for name in varying),
            *SHOWN,
            *extra,
            "verdict",
        ),
        rows=tuple(rows),
        labels=1 + len(varying),
        notes=tuple(notes),
        sources=sources,
    )


def published_throughput(request: Request) -> list[Table]:
    """The published speeds, which are of other machines: ours have a table of their own."""
    note = "TPUv3, a core; another machine and another program: no difference is formed."
    titles = {"left": "peak images a second and core", "right": "largest batch a core"}
    made = []
    for panel, what in titles.items():
        grid = Grid(title=f"ViT paper, Figure 12: {what}", label_names=("model",), columns=[])
        drawn = published.rows("figures_digitized")
        chosen = [row for row in drawn if (row["figure"], row["panel"]) == ("ViT Figure 12", panel)]
        for row in sorted(chosen, key=lambda row: float(row["x"])):
            grid.printed[grid.add((row["series"],), f"{row['x']} px")] = Printed(value=float(row["y"]), text=row["y"])
        grid.notes += [note, "Read from the paper's vector graphics, about three digits."]
        made.append(grid.table(request.show))
    grid = Grid(title="AugReg, Table 3: images a second on a V100 (timm)", label_names=("model",), columns=[])
    for row in published.rows("augreg_table3_imagenet"):
        if row["unit"] == "img/sec":
            place = grid.add((published.model_name(row["model"]),), f"{row['resolution']} px")
            grid.printed[place] = Printed(value=float(row["value"]), text=row["value"])
    grid.notes.append("Another machine and another program: no difference is formed.")
    return [*made, grid.table(request.show)]


def more_of_throughput(frame: pd.DataFrame) -> list[Table]:
    """How many times as fast as another model in turn; largest and fastest batches; what the models are."""
    frame = _with_settings(frame)
    return [table for table in (_ratios(frame), _models(frame)) if table is not None]


def _ratios(frame: pd.DataFrame) -> Table | None:
    """A row a setting in which two models were run in turn."""
    if "against" not in frame or not frame["against"].notna().any():
        return None
    duels = frame[frame["against"].notna()]
    varying, fixed = _settings(duels)
    rows, reasons = [], {}
    for known, part in _groups(duels, "against"):
        value = _values(part)
        bad = part[part["status"] != "ok"]
        said = "failed: " + str(bad["error"].iloc[0]) if len(bad) else _verdict(part)
        ratio = "{speed_ratio:.3f} [{speed_ratio_low:.3f}, {speed_ratio_high:.3f}]".format(**value) if value else ""
        numbers = (ratio, _significant(value.get("images_per_second_other")), f"{value.get('rounds', 0):.0f}")
        labels = (_model(known), *(_word(known[name]) for name in varying), str(known["against"]))
        rows.append((*labels, *numbers, _noted(said, reasons)))
    notes = ["; ".join(fixed) + "."] if fixed else []
    notes.append(
        "Times as fast: median time of the other over ours, of rounds in turn in one process [95 % bootstrap "
        "interval]; above 1 ours is the faster."
    )
    notes += [f"{number}: {reason}" for reason, number in reasons.items()]
    names = ("model", *(HEADINGS.get(name, name) for name in varying), "against")
    return Table(
        title="throughput: in turn with another model",
        columns=(*names, "times as fast", "images/s of the other", "rounds", "verdict"),
        rows=tuple(rows),
        labels=len(names),
        notes=tuple(notes),
    )


def _models(frame: pd.DataFrame) -> Table | None:
    """A row a model and image size: parameters of backbone and head, multiply-accumulates and operations."""
    known = frame[frame["metric"].isin(FACTS) & frame["status"].eq("ok")]
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for row in known.to_dict("records"):
        place = _model(row), _word(row.get("image_size"))
        rows.setdefault(place, {})[str(row["metric"])] = float(row["value"])
    if not rows:
        return None

    def cells(value: dict[str, float]) -> tuple[str, ...]:
        split = [value.get(f"parameters_{name}") for name in ("backbone", "head")]
        whole = value.get("parameters") if None in split else sum(filter(None, split))
        macs = value.get("gmacs")
        operations = value.get("gflops", None if macs is None else 2 * macs)
        millions = ["" if count is None else f"{count / 1e6:,.2f}" for count in (*split, whole)]
        return *millions, *map(_significant, (macs, operations))

    return Table(
        title="throughput: the models",
        columns=("model", "px", "backbone M", "head M", "parameters M", "GMAC", "GFLOP"),
        rows=tuple((*place, *cells(value)) for place, value in rows.items()),
        labels=2,
        notes=("GMAC: 1e9 multiply-accumulates of one image, head and attention included. GFLOP: 2 a GMAC.",),
    )


def _with_settings(frame: pd.DataFrame) -> pd.DataFrame:
    """The records with a column for every setting, empty where they have none."""
    return frame.assign(**{name: None for name in SETTINGS if name not in frame})


def _alone(frame: pd.DataFrame) -> pd.DataFrame:
    """Without what was run in turn with another model, which has a table of its own."""
    return frame[frame["against"].isna()] if "against" in frame else frame


def _settings(timed: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The settings that have a column, and those that are the same in all rows, in words."""
    used = [name for name in SETTINGS if timed[name].notna().any()]
    varying = [name for name in used if timed[name].astype(str).nunique() > 1 or name in SETTINGS[:3]]
    return varying, [f"{name}={_word(timed[name].iloc[0])}" for name in used if name not in varying]


def _groups(timed: pd.DataFrame, *more: str) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    keys = [*KEYS, *SETTINGS, *more]
    return [(dict(zip(keys, at, strict=True)), part) for at, part in timed.groupby(keys, sort=False, dropna=False)]


def _values(part: pd.DataFrame) -> dict[str, float]:
    return {str(row["metric"]): float(row["value"]) for row in part[part["status"] == "ok"].to_dict("records")}


def _model(known: dict[Any, Any]) -> str:
    name = f"{known['model']} [{known['variant']}]" if known["variant"] else str(known["model"])
    said = str(known["weights"])
    return name if said in ("", "own", "published") or is_random(said) else f"{name} ({said})"


def _noted(said: str, reasons: dict[str, int]) -> str:
    """The first word of a verdict, with the number of the note that has the rest of it."""
    word = said.partition(":")[0]
    return word if word == said else f"{word} {reasons.setdefault(said, len(reasons) + 1)}"


def _source(frame: pd.DataFrame) -> str:
    """Where published records come from; "" for measurements."""
    if not frame["source"].astype(str).str.startswith("imported:").all():
        return ""
    files = sorted(set(frame["env.imported_from"].astype(str))) if "env.imported_from" in frame else []
    return f"{', '.join(sorted(set(frame['source'])))}: {', '.join(files)}; another machine and another program"


def _samples(timed: pd.DataFrame) -> list[str]:
    """From how many samples a p95 is, in a sentence; none where there is none."""
    alone = timed[timed["scenario"].eq("single_stream") & timed["metric"].eq("timed_steps")]["value"]
    if alone.empty:
        return []
    least, most = f"{alone.min():.0f}", f"{alone.max():.0f}"
    return [f"p95: of {least if least == most else f'{least} to {most}'} samples; its 95 % interval is in the records."]


def _verdict(part: pd.DataFrame) -> str:
    """The row's verdict; where one of its numbers has more reasons against it, such as a ceiling, that number's."""
    said = [str(text) for text in part["verdict"] if text]
    doubts = [text for text in said if text != "valid"]
    return max(doubts, key=len) if doubts else said[0] if said else ""


def _limits(part: pd.DataFrame) -> set[float]:
    """The largest batches that a search was to try."""
    asked = [str(json.loads(text or "{}").get("batch", "")) for text in part["question"].unique()]
    return {float(text.rpartition(" ")[2]) for text in asked if text.startswith("largest")}


def _cells(value: dict[str, float], limits: set[float]) -> list[str]:
    def cell(name: str, scale: float = 1.0, digits: int = 1) -> str:
        return f"{value[name] / scale:,.{digits}f}" if name in value else ""

    speed = _significant(value.get("images_per_second"))
    if "images_per_second_q25" in value:
        quartiles = (_significant(value[f"images_per_second_{name}"]) for name in ("q25", "q75"))
        speed += " [{}, {}]".format(*quartiles)
    if "largest_batch" in value:
        largest = value.get("largest_batch_exact", value["largest_batch"])
        speed = f"largest batch {largest:.0f}{' (the limit)' if largest in limits else ''}"
    if "fastest_batch" in value:
        fastest = f"{_significant(value['images_per_second_fastest'])} at batch {value['fastest_batch']:.0f}"
        speed = f"{fastest}; {speed}" if speed else fastest
    return [
        speed,
        cell("latency", digits=2),
        cell("latency_p95", digits=2),
        _significant(value["achieved_flops"] / 1e12 if "achieved_flops" in value else None),
        cell("share_of_matmul_rate", digits=0),
        cell("share_of_products", digits=0),
        cell("peak_memory", 2**30, 2),
    ]


def _optional(value: dict[str, float]) -> dict[str, str]:
    """The cells of the columns that not every run has."""
    return {
        heading: " + ".join(_significant(value[name]) for name in metrics if name in value)
        for heading, metrics in OPTIONAL.items()
    }


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


def _word(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:g}"
    return str(value)
