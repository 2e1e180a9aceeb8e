"""Figures 6, 7, 10, 11 and 14: filters, position embeddings, attention distance and attention rollout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...registry import UsageError
from .. import published
from ..predictions import Predictions
from ..tables import row_labels
from . import style
from .records import caveats, of_task, relevant
from .row import Drawing, Figure, FigureRequest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_MODELS = 6  # rows of pictures on a page
SERIES = {"ViT-L/16": "ViT-L/16", "R50+ViT-L/16": "R50x1 + ViT-L/16"}  # model: panel of Figure 11
OVERVIEW = 3  # images of Figure 6, as in the paper
BESIDE: dict[str, Any] = {"xycoords": "axes fraction", "ha": "right", "va": "center"}  # a text left of a panel


@dataclass(frozen=True, kw_only=True)
class ModelArrays:
    """One model's arrays of one metric, with its label, width of its images, question and number of images."""

    label: str
    model: str
    arrays: dict[str, np.ndarray]
    width: int  # pixels of its input
    question: dict[str, Any]
    images: int


def draw_rollout(most_images: int | None, request: FigureRequest) -> Drawing:
    """Attention rollout of the first images, or of all that are stored."""
    figure = FIGURE14 if most_images is None else FIGURE6
    models = _model_arrays(request, figure, "attention_rollout", ("rollout", "images"))
    for model in models:
        pictures, maps = model.arrays["images"], model.arrays["rollout"]
        if pictures.ndim != 4 or maps.ndim != 3 or len(pictures) != len(maps):
            raise UsageError(f"{model.label}: images {pictures.shape} and rollout {maps.shape} do not belong together")
    count = max(len(model.arrays["images"][:most_images]) for model in models)
    across = min(count, 8)
    blocks = -(-count // across)  # each block has a row of input images and a row a model
    rows = blocks * (1 + len(models))
    side = min(1.1, (style.PAGE - 1.0) / across)
    canvas = style.canvas(1.0 + side * across, 0.25 + (side + 0.04) * rows)
    grid = canvas.subplots(rows, across, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for block in range(blocks):
        chosen = slice(block * across, (block + 1) * across)
        top = block * (1 + len(models))
        shown: list[tuple[str, Sequence[np.ndarray] | np.ndarray]] = [
            ("input", models[0].arrays["images"][:most_images][chosen])
        ]
        for model in models:
            arrays = (model.arrays[name][:most_images][chosen] for name in ("images", "rollout"))
            pairs = zip(*arrays, strict=True)
            shown.append((model.label, [brightened(picture, share) for picture, share in pairs]))
        for line, (label, pictures) in zip(grid[top:], shown, strict=False):
            for axes, picture in zip(line, pictures, strict=False):
                axes.imshow(picture, interpolation="nearest")
            text = label.replace(" ", "\n")
            line[0].annotate(text, (0, 0.5), (-4, 0), textcoords="offset points", fontsize=7, **BESIDE)
    identity = sorted({"with" if model.question.get("identity") else "without" for model in models})
    notes = [
        f"Attention rollout, {' or '.join(identity)} the identity; heads averaged. An image is shown as bright as its "
        "patches' share in the output, the largest at full brightness.",
        f"Images: the first {max(model.images for model in models)} test images of {_tasks(models)}.",
        *caveats(relevant(request, figure, "attention_rollout")),
    ]
    title = f"Figure {figure.name}: attention from the output to the input"
    return Drawing(title=title, canvas=canvas, notes=notes)


def brightened(picture: np.ndarray, share: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 times the share (rows, columns) of its patches, which is scaled to a maximum of 1."""
    from skimage.transform import resize

    light = share / share.max() if share.max() > 0 else np.zeros_like(share)
    light = resize(light.astype(float), picture.shape[:2], order=1, mode="edge", anti_aliasing=False)
    return (picture * light[..., None]).round().astype(np.uint8)


def draw7(request: FigureRequest) -> Drawing:
    """A row a model: principal components of filters, similarity of position embeddings, attention distance."""
    filters = _model_arrays(request, FIGURE7, "rgb_filters", ("components",))
    positions, distances = (
        {model.label: model for model in _model_arrays(request, FIGURE7, metric, (array,), needed=False)}
        for metric, array in (("position_similarity", "similarity"), ("attention_distance", "distance"))
    )
    canvas = style.canvas(style.PAGE, 2.1 * len(filters) + 0.35)
    panels = canvas.subplots(len(filters), 4, squeeze=False, width_ratios=(1.45, 1, 0.06, 1.35))
    notes: list[str] = []
    has_published = False
    for row, model in zip(panels, filters, strict=True):
        components = model.arrays["components"]
        row[0].imshow(mosaic(components), interpolation="nearest")
        row[0].set_title(f"RGB embedding filters\n(first {len(components)} principal components)")
        row[0].set_axis_off()
        if len(filters) > 1:
            row[0].annotate(model.label, (-0.04, 0.5), rotation=90, fontweight="bold", **BESIDE)
        if model.label in positions:
            image = _tiles(row[1], positions[model.label].arrays["similarity"])
            row[1].set_title("position embeddings")
            bar = canvas.colorbar(image, cax=row[2], ticks=[-1, 0, 1])
            bar.set_label("cosine similarity", labelpad=-2)
        else:
            _placeholder(row[1], "no position\nembeddings")
            row[2].set_axis_off()
        if model.label in distances:
            has_published |= _distance_panel(row[3], distances[model.label], request)
            row[3].set_title("mean attention distance")
        else:
            _placeholder(row[3], "no attention")
    if distances:
        notes += _distance_notes(list(distances.values()))
    what = "published (ViT paper, 224 px)"
    style.legend(canvas, style.SeriesStyles(), columns=2, ours=has_published, published=has_published, what=what)
    notes += caveats(relevant(request, FIGURE7, "rgb_filters"))
    return Drawing(title="Figure 7: filters, position embeddings, attention distance", canvas=canvas, notes=notes)


def draw10(request: FigureRequest) -> Drawing:
    """The similarity of position embeddings, a panel a model."""
    models = _model_arrays(request, FIGURE10, "position_similarity", ("similarity",))
    across = min(len(models), 3)
    down = -(-len(models) // across)
    canvas = style.canvas(min(style.PAGE, 0.6 + 2.1 * across), 2.3 * down)
    panels = canvas.subplots(down, across, squeeze=False)
    image: Any = None
    for axes, model in zip(panels.flat, models, strict=False):
        image = _tiles(axes, model.arrays["similarity"])
        axes.set_title(model.label)
    for axes in panels.flat[len(models) :]:
        axes.set_axis_off()
    bar = canvas.colorbar(image, ax=panels, shrink=0.7, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.set_label("cosine similarity")
    notes = caveats(relevant(request, FIGURE10, "position_similarity"))
    return Drawing(title="Figure 10: position embeddings", canvas=canvas, notes=notes)


def draw11(request: FigureRequest) -> Drawing:
    """Mean attention distance by depth, a dot a head, a panel a model."""
    models = _model_arrays(request, FIGURE11, "attention_distance", ("distance",)) if request.ours else []
    series = SERIES if request.published else {}
    published_points = {name: published.digitized("ViT Figure 11", panel) for name, panel in series.items()}
    published_only = [name for name in published_points if name not in [model.model for model in models]]
    total = len(models) + len(published_only)
    across = 2 if total == 4 else min(total, 3)
    canvas = style.canvas(style.PAGE if across > 2 else 2.9 * across, 2.4 * -(-total // across) + 0.2)
    panels = list(canvas.subplots(-(-total // across), across, squeeze=False).flat)
    for axes, model in zip(panels, models, strict=False):
        _distance_panel(axes, model, request)
        axes.set_title(model.label)
    for axes, name in zip(panels[len(models) :], published_only, strict=False):
        part = published_points[name]
        axes.plot(part["x"], part["y"], **_dots(hollow=True))
        axes.set_title(f"{name} (published)" if models else name)
        _distance_axes(axes, 224, float(part["y"].max()))
    for axes in panels[total:]:
        axes.set_axis_off()
    notes = _distance_notes(models) if models else []
    if published_points:
        notes.append("Published: ViT paper, Figure 11, 16 heads a layer, 128 images, read from its vector graphics.")
    if request.ours:
        notes += caveats(relevant(request, FIGURE11, "attention_distance"))
    style.legend(canvas, style.SeriesStyles(), columns=2, ours=bool(models), published=bool(published_points))
    return Drawing(title="Figure 11: mean attention distance", canvas=canvas, notes=notes)


def _distance_panel(axes: Axes, model: ModelArrays, request: FigureRequest) -> bool:
    """Plot a dot a head, and the published dots of the same model. Returns whether there are published ones."""
    distance = model.arrays["distance"]
    layers = np.repeat(np.arange(len(distance)), distance.shape[1])
    has_published = False
    top = float(distance.max())
    if request.published and model.model in SERIES and model.width == 224:
        part = published.digitized("ViT Figure 11", SERIES[model.model])
        axes.plot(part["x"] + 0.25, part["y"], **_dots(hollow=True))
        has_published, top = True, max(top, float(part["y"].max()))
    axes.plot(layers, distance.reshape(-1), **_dots(hollow=False))
    if "uniform" in model.arrays:
        level = float(model.arrays["uniform"])
        axes.axhline(level, color="#888888", linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
        top = max(top, level)
    _distance_axes(axes, model.width, top)
    return has_published


def _dots(*, hollow: bool) -> dict[str, Any]:
    dot_style: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 2.8, "markeredgewidth": 0.6}
    if hollow:
        return dot_style | {"color": "#444444", "markerfacecolor": "white", "zorder": 2}
    return dot_style | {"color": style.COLOURS[0], "alpha": 0.75, "zorder": 3}


def _distance_axes(axes: Axes, width: int, top: float) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylim(0, 1.15 * top)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("network depth (layer)")
    axes.set_ylabel(f"distance (px of {width})")


def _tiles(axes: Axes, similarity: np.ndarray) -> Any:
    """Plot a tile a patch: the similarity (rows, columns) of its position embedding to that of every patch."""
    rows, columns = similarity.shape[:2]
    gap = 1
    picture = _joined(similarity.astype(float), gap, np.nan)
    image = axes.imshow(picture, vmin=-1, vmax=1, cmap="cividis", interpolation="nearest")
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
    """Components (C, 3, H, W) as one picture, `columns` in a row. Each is scaled to its own range around mid-grey."""
    columns = min(columns, len(components))
    rows = -(-len(components) // columns)
    largest = np.abs(components).max(axis=(1, 2, 3), keepdims=True)
    scaled = (0.5 + 0.5 * components / np.where(largest, largest, 1)).transpose(0, 2, 3, 1).astype(np.float32)
    white = np.ones((rows * columns - len(scaled), *scaled.shape[1:]), dtype=np.float32)
    tiles = np.concatenate([scaled, white]).reshape(rows, columns, *scaled.shape[1:])
    return _joined(tiles, max(1, scaled.shape[2] // 8), 1)


def _joined(tiles: np.ndarray, gap: int, between: float) -> np.ndarray:
    """Tiles (rows, columns, H, W, …) as one picture, with gaps of the value `between`."""
    margins = [(0, gap if axis in (2, 3) else 0) for axis in range(tiles.ndim)]
    padded = np.pad(tiles, margins, constant_values=between)
    rows, columns, height, width = padded.shape[:4]
    picture = padded.swapaxes(1, 2).reshape(rows * height, columns * width, *tiles.shape[4:])
    return picture[:-gap, :-gap]


def _model_arrays(
    request: FigureRequest, figure: Figure, metric: str, arrays: tuple[str, ...], *, needed: bool = True
) -> list[ModelArrays]:
    """The arrays of one metric of every model in the records. Not `needed`: [] without such records."""
    frame = request.frame
    assert frame is not None
    if not request.ours:
        raise UsageError(f"show=published: figure {figure.name} shows arrays that are published nowhere")
    if not needed and not (frame["metric"] == metric).any():
        return []
    part = relevant(request, figure, metric)
    if "layer" in part:
        part = part[part["layer"].isna()]
    part = of_task(part, request) if metric.startswith("attention") else part
    predictions = Predictions(frame.attrs.get("folders", ()))
    models: list[ModelArrays] = []
    for label, rows in row_labels(part):
        row: dict[str, Any] = {str(name): value for name, value in rows.iloc[-1].items()}
        images = row.get("images")
        size = json.loads(row["treatment"] or "{}").get("size")
        models.append(
            ModelArrays(
                label=label,
                model=row["model"] if not row["variant"] else label,
                arrays=_arrays(label, row, predictions, arrays),
                width=size[1] if isinstance(size, list) and len(size) == 2 else 224,
                question=json.loads(row["question"] or "{}"),
                images=int(images) if images is not None and images == images and images != "" else 0,
            )
        )
    if len(models) > MOST_MODELS:
        raise UsageError(
            f"figure {figure.name} shows at most {MOST_MODELS} models and these records hold {len(models)}: "
            f"{', '.join(model.label for model in models)}. Name runs of fewer"
        )
    return models


def _arrays(label: str, row: dict[str, Any], stored: Predictions, needed: tuple[str, ...]) -> dict[str, np.ndarray]:
    """A record's arrays by name. Raises UsageError if they are not stored, incomplete, or not finite."""
    arrays = stored.other_arrays(str(row["measurement"]))
    if not arrays:
        key = str(row["measurement"]).partition("/")[0]
        where = ", ".join(stored.folders) or "a CSV file, which has no arrays: name the run directory"
        raise UsageError(f"the arrays of {row['model']} ({row['metric']}, cell {key}) are not in {where}")
    for name in needed:
        if name not in arrays:
            raise UsageError(f"{label}: its cell {row['measurement']} holds no array '{name}'. Measure it again")
        if arrays[name].dtype.kind == "f" and not np.isfinite(arrays[name]).all():
            raise UsageError(f"{label}: the array '{name}' of its cell {row['measurement']} has NaN or inf in it")
    return arrays


def _tasks(models: list[ModelArrays]) -> str:
    return ", ".join(sorted({str(model.question.get("task")) for model in models}))


def _distance_notes(models: list[ModelArrays]) -> list[str]:
    token_kinds = sorted({str(model.question.get("class_token")) for model in models} - {"none"})
    counts = sorted({model.images for model in models})
    token_note = f" The class token is {' or '.join(token_kinds)}." if token_kinds else ""
    return [
        f"A dot is a head: the mean over {' or '.join(map(str, counts))} images of {_tasks(models)}, in pixels "
        f"of the input.{token_note} Dashed: a head that looks everywhere alike."
    ]


def _placeholder(axes: Axes, text: str) -> None:
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


FIGURE6 = _figure("6", "attention from the output token to the input, three images", partial(draw_rollout, OVERVIEW))
FIGURE7 = _figure("7", "RGB embedding filters, position embedding similarity, mean attention distance", draw7)
FIGURE10 = _figure("10", "position embedding similarity of several models", draw10)
FIGURE11 = _figure("11", "mean attention distance by depth, hybrids too", draw11, published=True)
FIGURE14 = _figure("14", "attention from the output token to the input, more images", partial(draw_rollout, None))
