"""Figures 6, 7, 10, 11 and 14: filters, position embeddings, attention distance and attention rollout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...registry import UsageError
from .. import published
from ..predictions import Predictions
from ..tables import row_labels
from . import style
from .records import caveats, relevant
from .row import Drawing, Figure, FigureRequest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_MODELS = 6  # rows of pictures on a page
OVERVIEW = 3  # images of Figure 6, as in the paper


@dataclass(frozen=True, kw_only=True)
class Activations:
    """One model's arrays of one metric."""

    label: str
    model: str
    arrays: dict[str, np.ndarray]
    treatment: dict[str, Any]
    question: dict[str, Any]
    images: int


def draw6(asked: FigureRequest) -> Drawing:
    """The first images, and what of them reaches the output."""
    return _rollout(asked, FIGURE6, OVERVIEW)


def draw14(asked: FigureRequest) -> Drawing:
    """All images that were kept."""
    return _rollout(asked, FIGURE14, None)


def _rollout(asked: FigureRequest, figure: Figure, most: int | None) -> Drawing:
    found = _found(asked, figure, "attention_rollout", ("rollout", "images"))
    for one in found:
        pictures, maps = one.arrays["images"], one.arrays["rollout"]
        if pictures.ndim != 4 or maps.ndim != 3 or len(pictures) != len(maps):
            raise UsageError(f"{one.label}: images {pictures.shape} and rollout {maps.shape} do not belong together")
    count = max(len(one.arrays["images"][:most]) for one in found)
    across = min(count, 8)
    blocks = -(-count // across)  # of pictures; each has a row of inputs and a row a model
    rows = blocks * (1 + len(found))
    cell = min(1.1, (style.PAGE - 1.0) / across)
    canvas = style.canvas(1.0 + cell * across, 0.25 + (cell + 0.04) * rows)
    grid = canvas.subplots(rows, across, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for block in range(blocks):
        chosen = slice(block * across, (block + 1) * across)
        top = block * (1 + len(found))
        shown: list[tuple[str, Sequence[np.ndarray] | np.ndarray]] = [
            ("input", found[0].arrays["images"][:most][chosen])
        ]
        for one in found:
            pairs = zip(one.arrays["images"][:most][chosen], one.arrays["rollout"][:most][chosen], strict=True)
            shown.append((one.label, [lit(picture, share) for picture, share in pairs]))
        for line, (label, pictures) in zip(grid[top:], shown, strict=False):
            for axes, picture in zip(line, pictures, strict=False):
                axes.imshow(picture, interpolation="nearest")
            _name_row(line[0], label)
    identity = sorted({"with" if one.question.get("identity") else "without" for one in found})
    notes = [
        f"Attention rollout, {' or '.join(identity)} the identity; heads averaged. An image is shown as bright as its "
        "patches' share in the output, the largest at full brightness.",
        f"Images: the first {max(one.images for one in found)} test images of {_tasks(found)}.",
        *caveats(relevant(asked, figure, "attention_rollout")),
    ]
    return Drawing(
        title=f"Figure {figure.name}: attention from the output to the input", canvas=canvas, notes=tuple(notes)
    )


def lit(picture: np.ndarray, share: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8, as bright everywhere as its patches' share (rows, columns), the largest at 1."""
    height, width = picture.shape[:2]
    light = share / share.max() if share.max() > 0 else np.zeros_like(share)
    light = _stretch(_stretch(light, height, 0), width, 1)
    return (picture * light[..., None]).round().astype(np.uint8)


def _stretch(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Linear interpolation along one axis between the centres of patches, constant outside of them."""
    count = values.shape[axis]
    place = np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0, count - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, count - 1)
    weight = (place - low).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    return np.take(values, low, axis) * (1 - weight) + np.take(values, high, axis) * weight


def draw7(asked: FigureRequest) -> Drawing:
    """A row a model: the filters' components, the position embeddings' similarity, attention distance by depth."""
    filters = _found(asked, FIGURE7, "rgb_filters", ("components",))
    positions = {one.label: one for one in _found(asked, FIGURE7, "position_similarity", ("similarity",), needed=False)}
    distances = {one.label: one for one in _found(asked, FIGURE7, "attention_distance", ("distance",), needed=False)}
    canvas = style.canvas(style.PAGE, 2.1 * len(filters) + 0.35)
    panels = canvas.subplots(len(filters), 4, squeeze=False, width_ratios=(1.45, 1, 0.06, 1.35))
    notes: list[str] = []
    both = False
    for row, one in zip(panels, filters, strict=True):
        components = one.arrays["components"]
        row[0].imshow(mosaic(components), interpolation="nearest")
        row[0].set_title(f"RGB embedding filters\n(first {len(components)} principal components)")
        row[0].set_axis_off()
        if len(filters) > 1:
            row[0].annotate(
                one.label,
                (-0.04, 0.5),
                xycoords="axes fraction",
                rotation=90,
                ha="right",
                va="center",
                fontweight="bold",
            )
        if one.label in positions:
            image = _tiles(row[1], positions[one.label].arrays["similarity"])
            row[1].set_title("position embeddings")
            bar = canvas.colorbar(image, cax=row[2], ticks=[-1, 0, 1])
            bar.set_label("cosine similarity", labelpad=-2)
        else:
            _say(row[1], "no position\nembeddings")
            row[2].set_axis_off()
        if one.label in distances:
            both |= _distance_panel(row[3], distances[one.label], asked)
            row[3].set_title("mean attention distance")
        else:
            _say(row[3], "no attention")
    if distances:
        notes += _of_distances(list(distances.values()))
    style.legend(canvas, style.Looks(), columns=2, ours=both, published=both, what="published (ViT paper, 224 px)")
    notes += caveats(relevant(asked, FIGURE7, "rgb_filters"))
    return Drawing(
        title="Figure 7: filters, position embeddings, attention distance", canvas=canvas, notes=tuple(notes)
    )


def draw10(asked: FigureRequest) -> Drawing:
    """Position embeddings' similarity of several models, or of one trained in several ways."""
    found = _found(asked, FIGURE10, "position_similarity", ("similarity",))
    across = min(len(found), 3)
    down = -(-len(found) // across)
    canvas = style.canvas(min(style.PAGE, 0.6 + 2.1 * across), 2.3 * down)
    panels = canvas.subplots(down, across, squeeze=False)
    image: Any = None
    for axes, one in zip(panels.flat, found, strict=False):
        image = _tiles(axes, one.arrays["similarity"])
        axes.set_title(one.label)
    for axes in panels.flat[len(found) :]:
        axes.set_axis_off()
    bar = canvas.colorbar(image, ax=panels, shrink=0.7, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.set_label("cosine similarity")
    notes = caveats(relevant(asked, FIGURE10, "position_similarity"))
    return Drawing(title="Figure 10: position embeddings", canvas=canvas, notes=tuple(notes))


def draw11(asked: FigureRequest) -> Drawing:
    """Mean attention distance by depth, a dot a head, a panel a model."""
    found = _found(asked, FIGURE11, "attention_distance", ("distance",)) if asked.ours else []
    drawn = {}
    if asked.published:
        for series in ("ViT-L/16", "R50x1 + ViT-L/16"):
            drawn[published.model_name(series)] = published.digitized("ViT Figure 11", series)
    apart = [name for name in drawn if name not in [one.model for one in found]]
    total = len(found) + len(apart)
    across = 2 if total == 4 else min(total, 3)
    canvas = style.canvas(style.PAGE if across > 2 else 2.9 * across, 2.4 * -(-total // across) + 0.2)
    panels = list(canvas.subplots(-(-total // across), across, squeeze=False).flat)
    for axes, one in zip(panels, found, strict=False):
        _distance_panel(axes, one, asked)
        axes.set_title(one.label)
    for axes, name in zip(panels[len(found) :], apart, strict=False):
        part = drawn[name]
        axes.plot(part["x"], part["y"], **_dots(hollow=True))
        axes.set_title(f"{name} (published)" if found else name)
        _distance_axes(axes, 224, float(part["y"].max()))
    for axes in panels[total:]:
        axes.set_axis_off()
    notes = _of_distances(found) if found else []
    if drawn:
        notes.append("Published: ViT paper, Figure 11, 16 heads a layer, 128 images, read from its vector graphics.")
    if asked.ours:
        notes += caveats(relevant(asked, FIGURE11, "attention_distance"))
    style.legend(canvas, style.Looks(), columns=2, ours=bool(found), published=bool(drawn))
    return Drawing(title="Figure 11: mean attention distance", canvas=canvas, notes=tuple(notes))


def _distance_panel(axes: Axes, one: Activations, asked: FigureRequest) -> bool:
    """A dot a head; the published ones of the same model beside them. Returns whether there are any."""
    distance = one.arrays["distance"]
    layers = np.repeat(np.arange(len(distance)), distance.shape[1])
    width = _side(one)
    theirs = False
    top = float(distance.max())
    series = {"ViT-L/16": "ViT-L/16", "R50+ViT-L/16": "R50x1 + ViT-L/16"}.get(one.model)
    if asked.published and series and width == 224:
        part = published.digitized("ViT Figure 11", series)
        axes.plot(part["x"] + 0.25, part["y"], **_dots(hollow=True))
        theirs, top = True, max(top, float(part["y"].max()))
    axes.plot(layers, distance.reshape(-1), **_dots(hollow=False))
    if "uniform" in one.arrays:
        level = float(one.arrays["uniform"])
        axes.axhline(level, color="#888888", linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
        top = max(top, level)
    _distance_axes(axes, width, top)
    return theirs


def _dots(*, hollow: bool) -> dict[str, Any]:
    look: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 2.8, "markeredgewidth": 0.6}
    if hollow:
        return look | {"color": "#444444", "markerfacecolor": "white", "zorder": 2}
    return look | {"color": style.COLOURS[0], "alpha": 0.75, "zorder": 3}


def _distance_axes(axes: Axes, width: int, top: float) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylim(0, 1.15 * top)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("network depth (layer)")
    axes.set_ylabel(f"distance (px of {width})")


def _tiles(axes: Axes, similarity: np.ndarray) -> Any:
    """A tile a patch: how similar its position embedding is to that of each patch; tiles a thin line apart."""
    rows, columns = similarity.shape[:2]
    gap = 1
    whole = np.full((rows * (rows + gap) - gap, columns * (columns + gap) - gap), np.nan)
    for r in range(rows):
        for c in range(columns):
            top, left = r * (rows + gap), c * (columns + gap)
            whole[top : top + rows, left : left + columns] = similarity[r, c]
    image = axes.imshow(whole, vmin=-1, vmax=1, cmap="cividis", interpolation="nearest")
    marks = [*range(0, rows, max(1, rows // 7))], [*range(0, columns, max(1, columns // 7))]
    axes.set_yticks([r * (rows + gap) + (rows - 1) / 2 for r in marks[0]], [str(r + 1) for r in marks[0]])
    axes.set_xticks([c * (columns + gap) + (columns - 1) / 2 for c in marks[1]], [str(c + 1) for c in marks[1]])
    axes.set_xlabel("input patch column")
    axes.set_ylabel("input patch row")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def mosaic(components: np.ndarray, columns: int = 7) -> np.ndarray:
    """Components (C, 3, H, W) as one picture, `columns` a row, each stretched to its own range around mid-grey."""
    count, _, height, width = components.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    gap = max(1, width // 8)
    whole = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), dtype=np.float32)
    for i, component in enumerate(components):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        largest = np.abs(component).max() or 1.0
        whole[top : top + height, left : left + width] = (0.5 + 0.5 * component / largest).transpose(1, 2, 0)
    return whole


def _found(
    asked: FigureRequest, figure: Figure, metric: str, arrays: tuple[str, ...], *, needed: bool = True
) -> list[Activations]:
    """The arrays behind one metric of every model in the records."""
    frame = asked.frame
    assert frame is not None
    if not asked.ours:
        raise UsageError(f"show=published: figure {figure.name} shows arrays that are published nowhere")
    if not needed and not (frame["metric"] == metric).any():
        return []
    part = relevant(asked, figure, metric)
    if "layer" in part:
        part = part[part["layer"].isna()]
    tasks = [task for task in dict.fromkeys(part["task"]) if task]
    if asked.task is not None and metric.startswith("attention"):
        part = part[part["task"].str.lower() == asked.task.lower()]
        if part.empty:
            raise UsageError(f"task={asked.task}: these records are of {', '.join(tasks)}")
    beside = Predictions(frame.attrs.get("folders", ()))
    found: list[Activations] = []
    for label, rows in row_labels(part):
        row: dict[str, Any] = {str(name): value for name, value in rows.iloc[-1].items()}
        images = row.get("images")
        found.append(
            Activations(
                label=label,
                model=row["model"] if not row["variant"] else label,
                arrays=_arrays(label, row, beside, arrays),
                treatment=json.loads(row["treatment"] or "{}"),
                question=json.loads(row["question"] or "{}"),
                images=int(images) if images is not None and images == images and images != "" else 0,
            )
        )
    if len(found) > MOST_MODELS:
        raise UsageError(
            f"figure {figure.name} shows at most {MOST_MODELS} models and these records hold {len(found)}: "
            f"{', '.join(one.label for one in found)}. Name runs of fewer"
        )
    return found


def _arrays(label: str, row: dict[str, Any], kept: Predictions, needed: tuple[str, ...]) -> dict[str, np.ndarray]:
    """What is kept beside a record, by plain names. Raises UsageError where it is in no run directory, or damaged."""
    found = kept.other_arrays(str(row["measurement"]))
    if not found:
        key = str(row["measurement"]).partition("/")[0]
        where = ", ".join(kept.folders) or "a CSV file, which has no arrays: name the run directory"
        raise UsageError(f"the arrays of {row['model']} ({row['metric']}, cell {key}) are not in {where}")
    for name in needed:
        if name not in found:
            raise UsageError(f"{label}: its cell {row['measurement']} holds no array '{name}'. Measure it again")
        if found[name].dtype.kind == "f" and not np.isfinite(found[name]).all():
            raise UsageError(f"{label}: the array '{name}' of its cell {row['measurement']} has NaN or inf in it")
    return found


def _side(one: Activations) -> int:
    size = one.treatment.get("size")
    return int(size[1]) if isinstance(size, list) and len(size) == 2 else 224


def _tasks(found: list[Activations]) -> str:
    return ", ".join(sorted({str(one.question.get("task")) for one in found}))


def _of_distances(found: list[Activations]) -> list[str]:
    token = sorted({str(one.question.get("class_token")) for one in found if one.question.get("class_token") != "none"})
    counts = sorted({one.images for one in found})
    said = f" The class token is {' or '.join(token)}." if token else ""
    return [
        f"A dot is a head: the mean over {' or '.join(map(str, counts))} images of {_tasks(found)}, in pixels "
        f"of the input.{said} Dashed: a head that looks everywhere alike."
    ]


def _name_row(axes: Axes, text: str) -> None:
    axes.annotate(
        text.replace(" ", "\n"),
        (0, 0.5),
        (-4, 0),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=7,
    )


def _say(axes: Axes, text: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color="#555555")


def _figure(name: str, summary: str, draw: Any, *, published: bool = False) -> Figure:
    return Figure(
        name=name,
        summary=summary,
        suites=("internals",),
        measured_by="suite=internals model=NAME weights=TAG",
        draw=draw,
        published=published,
    )


FIGURE6 = _figure("6", "attention from the output token to the input, three images", draw6)
FIGURE7 = _figure("7", "RGB embedding filters, position embedding similarity, mean attention distance", draw7)
FIGURE10 = _figure("10", "position embedding similarity of several models", draw10)
FIGURE11 = _figure("11", "mean attention distance by depth, hybrids too", draw11, published=True)
FIGURE14 = _figure("14", "attention from the output token to the input, more images", draw14)
