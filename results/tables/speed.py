"""Throughput: ours by input size, and published speeds, which are of other machines and stand apart."""

from __future__ import annotations

from ..published import model_name, rows
from .grid import Grid, Printed
from .table import Request, Table


def throughput(request: Request) -> list[Table]:
    """The published speeds; ours have a table of their own (results/throughput_table.py): other machines."""
    return _published() if request.show in ("published", "both") else []


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
