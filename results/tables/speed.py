"""Throughput: ours by input size, and published speeds, which are of other machines and stand apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..published import model_name, rows
from .grid import Grid, Printed
from .rows import at_columns
from .table import Request, Table

if TYPE_CHECKING:
    import pandas as pd


def throughput(request: Request) -> list[Table]:
    """A table a metric of ours, then the published ones. No difference is formed across machines."""
    made = [] if request.frame is None else _ours(request.frame)
    return made + (_published() if request.show in ("published", "both") else [])


def _ours(frame: pd.DataFrame) -> list[Table]:
    """A row a model and setting, a column an input size."""
    made = []
    failed = frame[frame["status"] != "ok"]
    ok = frame[frame["status"] == "ok"]
    settings = [name for name in at_columns(ok) if name != "image_size"]
    for metric, part in ok.groupby("metric", sort=False):
        varying = [name for name in settings if part[name].astype(str).nunique() > 1]
        varying += ["device"] if part["device"].nunique() > 1 else []
        sizes = "image_size" in part and part["image_size"].notna().any()
        unit = part["unit"].iloc[0]
        grid = Grid(
            title=f"Throughput: {metric}, {unit}",
            label_names=("model", *varying),
            columns=[],
            decimals=1,
        )
        ordered = part.sort_values("image_size", kind="stable") if sizes else part
        grid.rows = [_row(one, varying) for one in part.to_dict("records")]
        grid.rows = list(dict.fromkeys(grid.rows))
        for one in ordered.to_dict("records"):
            column = f"{_plain(one['image_size'])} px" if sizes else str(metric)
            place = grid.add(_row(one, varying), column)
            text = "" if place not in grid.plain else f"{grid.plain[place]} / "
            grid.plain[place] = f"{text}{one['value']:,.1f}"
        fixed = [f"{name}={_plain(part[name].iloc[0])}" for name in settings if name not in varying]
        grid.notes += [f"{', '.join([*fixed, str(part['device'].iloc[0])] if 'device' not in varying else fixed)}."]
        if len(failed):
            first = failed.iloc[0]
            grid.notes.append(f"{len(failed)} failed, the first: {first['model']}: {first['error']}")
        made.append(grid.table("published"))
    return made


def _row(one: dict[Any, Any], varying: list[str]) -> tuple[str, ...]:
    name = f"{one['model']} [{one['variant']}]" if one["variant"] else str(one["model"])
    return (name, *(_plain(one[column]) for column in varying))


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:g}"
    return str(value)


def _published() -> list[Table]:
    note = "TPUv3, a core; another machine and another program: no difference is formed."
    titles = {"left": "peak images a second and core", "right": "largest batch a core"}
    made = []
    for panel, what in titles.items():
        grid = Grid(title=f"ViT paper, Figure 12: {what}", label_names=("model",), columns=[])
        chosen = [row for row in rows("figures_digitized") if (row["figure"], row["panel"]) == ("ViT Figure 12", panel)]
        for row in sorted(chosen, key=lambda row: float(row["x"])):
            grid.printed[grid.add((row["series"],), f"{row['x']} px")] = Printed(value=float(row["y"]), text=row["y"])
        grid.notes += [note, "Read from the paper's vector graphics, about three digits."]
        made.append(grid.table("published"))
    grid = Grid(title="AugReg, Table 3: images a second on a V100 (timm)", label_names=("model",), columns=[])
    for row in rows("augreg_table3_imagenet"):
        if row["unit"] == "img/sec":
            place = grid.add((model_name(row["model"]),), f"{row['resolution']} px")
            grid.printed[place] = Printed(value=float(row["value"]), text=row["value"])
    grid.notes.append("Another machine and another program: no difference is formed.")
    return [*made, grid.table("published")]
