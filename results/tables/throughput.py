"""The throughput tables: a row a model and setting, with speed, ceilings, memory and verdict; and published speeds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...random_weights import is_random
from .. import published
from ..cost import cost_note
from ..questions import not_reached
from ..record import NOT_REACHED
from .cells import stated
from .grid import Grid
from .names import Name, Thing, names, thing_of
from .rows import measurements
from .table import TIMED, Table, TableRequest, TableSpec

if TYPE_CHECKING:
    import pandas as pd

SETTINGS = ("image_size", "batch_size", "precision", "mode", "compile", "memory_format", "timing", "scenario")
HEADINGS = {"image_size": "px", "batch_size": "batch", "memory_format": "layout"}
KEYS = ("model", "variant", "weights", "device")
ALWAYS = {  # columns that are always there, and the metrics in them
    "images/s": ("images_per_second", "images_per_second_fastest", "largest_batch", "largest_batch_exact"),
    "latency ms": ("latency",),
    "p95 ms": ("latency_p95",),
    "TFLOP/s": ("achieved_flops",),
    "% of matmul": ("share_of_matmul_rate",),
    "% of ceiling": ("share_of_products",),
    "GiB": ("peak_memory",),
}
OPTIONAL = {  # columns that are there if not empty, and the metrics in them
    "fwd + bwd + opt ms": ("forward_time", "backward_time", "optimizer_time"),
    "J an image": ("energy_per_image",),
    "W": ("mean_power",),
}
SIZE_METRICS = ("parameters", "parameters_backbone", "parameters_head", "gmacs", "gflops")  # counted, not timed


def throughput(request: TableRequest) -> list[Table]:
    """Tables of one protocol: speeds, models timed in turn, sizes of models; without records, published speeds."""
    if request.frame is None:
        return published_throughput(request)
    frame = request.frame.assign(**{name: None for name in SETTINGS if name not in request.frame})
    tables = [throughput_table(frame)]
    if "against" in frame and frame["against"].notna().any():
        tables.append(_comparison_table(frame[frame["against"].notna()]))
    sizes = frame[frame["metric"].isin(SIZE_METRICS) & frame["status"].eq("ok")]
    return tables if sizes.empty else [*tables, _size_table(sizes)]


def throughput_table(frame: pd.DataFrame) -> Table:
    """A row a model and setting: images a second (median and quartiles) or latency (median and p95).

    Settings that are the same in all rows are in a note, as is the cost. Every verdict other than `valid` has a
    footnote with its reason. Imported records (`import timm`) have the verdict `published`.
    """
    timed = frame[~frame["metric"].isin(SIZE_METRICS)]
    timed = timed[timed["against"].isna()] if "against" in timed else timed
    optional = {name: metrics for name, metrics in OPTIONAL.items() if timed["metric"].isin(metrics).any()}
    source = _source(frame)
    fixed = _settings(timed)[1]
    notes = ["; ".join(filter(None, [*fixed, *([source] if source else _machine(frame))])) + "."]
    if not source:
        notes.append(
            "Images a second: median [quartiles] of timed steps. Of matmul: achieved FLOP/s over the device's best "
            "matrix product. Of ceiling: share of the time of the model's own products, each timed alone. GiB: the "
            "peak of memory (on a CPU of the process)."
        )
    title = "throughput, published elsewhere" if source else "throughput"
    table = _timing_table(title, timed, (), ALWAYS | optional, _speed_cells, [*notes, *_sample_notes(timed)])
    return replace(table, notes=(*table.notes, *cost_note(frame)))


def _comparison_table(comparisons: pd.DataFrame) -> Table:
    """A row a model and setting that was timed in turn with another model: how many times as fast it is."""
    fixed = _settings(comparisons)[1]
    notes = ["; ".join(fixed) + "."] if fixed else []
    notes.append(
        "Times as fast: median time of the other over ours, of rounds in turn in one process [95 % bootstrap "
        "interval]; above 1 ours is the faster."
    )
    columns: dict[str, tuple[str, ...]] = {"times as fast": (), "images/s of the other": (), "rounds": ()}
    title = "throughput: in turn with another model"
    return _timing_table(title, comparisons, ("against",), columns, _comparison_cells, notes)


def _timing_table(
    title: str,
    timed: pd.DataFrame,
    extra_keys: tuple[str, ...],
    columns: dict[str, tuple[str, ...]],
    cells: Callable[[pd.DataFrame], dict[str, str]],
    notes: list[str],
) -> Table:
    """A row for each model and setting, and for each value of the columns `extra_keys`, with a verdict.

    `cells` makes the texts of a row, by heading, from its records. `columns` has the headings and the metrics in each.
    """
    varying = _settings(timed)[0]
    keys = [*KEYS, *SETTINGS, *extra_keys]
    rows: list[tuple[str, ...]] = []
    reasons: dict[str, int] = {}
    unreached: dict[str, Counter[str]] = {}  # why -> rows of each model
    sources: dict[tuple[int, int], tuple[str, ...]] = {}
    named = names(timed)
    for group, part in timed.groupby(keys, sort=False, dropna=False):
        values: dict[str, Any] = dict(zip(keys, group, strict=True))
        labels = (_model(values, named), *(_word(values[name]) for name in (*varying, *extra_keys)))
        for column, metrics in enumerate(columns.values(), start=len(labels)):
            if measured := measurements(part[part["metric"].isin(metrics)]):
                sources[len(rows), column] = measured
        texts = cells(part)
        verdict = _verdict(part)
        word = verdict.partition(":")[0]
        if verdict == NOT_REACHED:
            unreached.setdefault(str(part["error"].iloc[0]), Counter())[labels[0]] += 1
        verdict_text = word if word == verdict else f"{word} {reasons.setdefault(verdict, len(reasons) + 1)}"
        rows.append((*labels, *(texts.get(name, "") for name in columns), verdict_text))
    return Table(
        title=title,
        columns=("model", *(HEADINGS.get(name, name) for name in (*varying, *extra_keys)), *columns, "verdict"),
        rows=tuple(rows),
        labels=1 + len(varying) + len(extra_keys),
        notes=(
            *notes,
            *(f"{number}: {reason}" for reason, number in reasons.items()),
            *(f"{_rows(found.total())} {why}: {_counted(found)}." for why, found in unreached.items()),
        ),
        sources=sources,
    )


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _counted(found: Counter[str]) -> str:
    return ", ".join(f"{model} {count}" for model, count in found.items())


def _size_table(sizes: pd.DataFrame) -> Table:
    """A row a model and image size: parameters of backbone and head, multiply-accumulates and operations."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    named = names(sizes)
    for row in sizes.to_dict("records"):
        model_and_size = _model(row, named), _word(row.get("image_size"))
        rows.setdefault(model_and_size, {})[str(row["metric"])] = float(row["value"])

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
        rows=tuple((*model_and_size, *cells(value)) for model_and_size, value in rows.items()),
        labels=2,
        notes=("GMAC: 1e9 multiply-accumulates of one image, head and attention included. GFLOP: 2 a GMAC.",),
    )


def published_throughput(request: TableRequest) -> list[Table]:
    """The published speeds. They are from other machines, so they are not combined with ours."""
    grids = []
    for panel, metric in (("left", "peak images a second and core"), ("right", "largest batch a core")):
        grid = Grid(title=f"ViT paper, Figure 12: {metric}", label_names=("model",))
        for row in sorted(published.drawn("ViT Figure 12", panel), key=lambda row: float(row["x"])):
            grid.printed[grid.add((row["series"],), f"{row['x']} px")] = stated(row["y"])
        grid.notes += [
            "TPUv3, a core; another machine and another program: no difference is formed.",
            "Read from the paper's vector graphics, about three digits.",
        ]
        grids.append(grid)
    grid = Grid(title="AugReg, Table 3: images a second on a V100 (timm)", label_names=("model",))
    for row in published.rows("augreg_table3_imagenet"):
        if row["unit"] == "img/sec":
            position = grid.add((published.model_name(row["model"]),), f"{row['resolution']} px")
            grid.printed[position] = stated(row["value"])
    grid.notes.append("Another machine and another program: no difference is formed.")
    return [made.table(replace(request, show="published")) for made in (*grids, grid)]


def _settings(timed: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The settings that get a column, and a text for each setting that is the same in all rows."""
    used = [name for name in SETTINGS if timed[name].notna().any()]
    varying = [name for name in used if timed[name].astype(str).nunique() > 1 or name in SETTINGS[:3]]
    return varying, [f"{name}={_word(timed[name].iloc[0])}" for name in used if name not in varying]


def _values(part: pd.DataFrame) -> dict[str, float]:
    ok = part[part["status"] == "ok"]
    return dict(zip(ok["metric"].astype(str), ok["value"].astype(float), strict=True))


def _model(row: dict[Any, Any], named: Mapping[Thing, Name]) -> str:
    weights, name = str(row["weights"]), named[thing_of(row)]
    quiet = name.chosen or weights in ("", "own", "published") or is_random(weights)
    return name.model if quiet else f"{name.model} ({name.weights})"


def _source(frame: pd.DataFrame) -> str:
    """Where imported records come from; "" for measurements."""
    if not frame["source"].astype(str).str.startswith("imported:").all():
        return ""
    files = sorted(set(frame["env.imported_from"].astype(str))) if "env.imported_from" in frame else []
    return f"{', '.join(sorted(set(frame['source'])))}: {', '.join(files)}; another machine and another program"


def _sample_notes(timed: pd.DataFrame) -> list[str]:
    """A note on the number of samples behind a p95; [] if there is no p95."""
    alone = timed[timed["scenario"].eq("single_stream") & timed["metric"].eq("timed_steps")]["value"]
    if alone.empty:
        return []
    least, most = f"{alone.min():.0f}", f"{alone.max():.0f}"
    return [f"p95: of {least if least == most else f'{least} to {most}'} samples; its 95 % interval is in the records."]


def _verdict(part: pd.DataFrame) -> str:
    """The row's verdict: "failed: …", "not reached", the longest doubt about one of its numbers, "valid" or ""."""
    bad = part[part["status"] != "ok"]
    if not_reached(bad).any():
        return NOT_REACHED
    if len(bad):
        return f"failed: {bad['error'].iloc[0]}"
    verdicts = [str(text) for text in part["verdict"] if text]
    doubts = [text for text in verdicts if text != "valid"]
    return max(doubts, key=len) if doubts else verdicts[0] if verdicts else ""


def _limits(part: pd.DataFrame) -> set[float]:
    """The upper limits of the searches for the largest batch."""
    batch_rules = [str(json.loads(text or "{}").get("batch", "")) for text in part["question"].unique()]
    return {float(text.rpartition(" ")[2]) for text in batch_rules if text.startswith("largest")}


def _speed_cells(part: pd.DataFrame) -> dict[str, str]:
    """The cells of a row of timings, by heading."""
    value = _values(part)

    def cell(name: str, scale: float = 1.0, digits: int = 1) -> str:
        return f"{value[name] / scale:,.{digits}f}" if name in value else ""

    speed = _significant(value.get("images_per_second"))
    if "images_per_second_q25" in value:
        speed += " [{}, {}]".format(*(_significant(value[f"images_per_second_{name}"]) for name in ("q25", "q75")))
    if "largest_batch" in value:
        largest = value.get("largest_batch_exact", value["largest_batch"])
        speed = f"largest batch {largest:.0f}{' (the limit)' if largest in _limits(part) else ''}"
    if "fastest_batch" in value:
        fastest = f"{_significant(value['images_per_second_fastest'])} at batch {value['fastest_batch']:.0f}"
        speed = f"{fastest}; {speed}" if speed else fastest
    return {
        "images/s": speed,
        "latency ms": cell("latency", digits=2),
        "p95 ms": cell("latency_p95", digits=2),
        "TFLOP/s": _significant(value["achieved_flops"] / 1e12 if "achieved_flops" in value else None),
        "% of matmul": cell("share_of_matmul_rate", digits=0),
        "% of ceiling": cell("share_of_products", digits=0),
        "GiB": cell("peak_memory", 2**30, 2),
    } | {
        heading: " + ".join(_significant(value[name]) for name in metrics if name in value)
        for heading, metrics in OPTIONAL.items()
    }


def _comparison_cells(part: pd.DataFrame) -> dict[str, str]:
    """The cells of a row of the table of models timed in turn, by heading."""
    value = _values(part)
    ratio = f"{value['speed_ratio']:.3f}" if value else ""
    if "speed_ratio_low" in value:
        ratio += " [{speed_ratio_low:.3f}, {speed_ratio_high:.3f}]".format(**value)
    return {
        "times as fast": ratio,
        "images/s of the other": _significant(value.get("images_per_second_other")),
        "rounds": f"{value.get('rounds', 0):.0f}",
    }


def _significant(number: float | None) -> str:
    return "" if number is None else f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _machine(frame: pd.DataFrame) -> list[str]:
    """Device and versions; where they differ between rows, all of them, marked DIFFERS."""
    parts = []
    for name in ("device", "env.processor", "env.threads", "env.driver", "env.cuda", "env.torch", "env.commit"):
        values: Sequence[str] = sorted({str(value) for value in frame[name] if str(value)}) if name in frame else ()
        plain = name.removeprefix("env.")
        versions = list(dict.fromkeys(value.partition("+")[0] for value in values))  # 2.14.1 of 2.14.1+cu130
        if len(versions) == 1 and len(values) > 1:
            parts.append(f"{plain} {versions[0]} (builds {', '.join(values)})")
        elif len(values) == 1:
            parts.append(f"{plain} {values[0][:10] if name == 'env.commit' else values[0]}")
        elif values:
            parts.append(f"{plain} DIFFERS: {', '.join(values)}")
    return parts


def _word(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:g}"
    return str(value)


THROUGHPUT = TableSpec(
    name="throughput",
    summary="images a second, latency and memory, by input size; published speeds are of other machines",
    suites=(TIMED,),
    by_protocol=True,
    build=throughput,
)
