"""Figures 8 and 9, as published: the transformer's shape, and class token against mean of tokens."""

from __future__ import annotations

from .. import published
from . import style
from .row import Drawing, Figure, FigureRequest


def draw8(_: FigureRequest) -> Drawing:
    """5-shot accuracy when one dimension of the model is scaled, against compute relative to the base model's."""
    styles = style.SeriesStyles()
    canvas = style.canvas(style.PAGE, 2.6)
    for axes, panel in zip(canvas.subplots(1, 2), ("ImageNet 5-shot", "Average 5-shot"), strict=True):
        style.series(axes, styles, published.digitized("ViT Figure 8", panel), _words)
        style.plain_log(axes, "x", [0.2, 0.5, 1, 2, 5, 10])
        axes.set_title(panel)
        axes.set_xlabel("relative compute")
        axes.set_ylabel("5-shot accuracy")
    style.legend(canvas, styles, columns=5, ours=False)
    notes = (
        "Relative compute 1: 8 layers, width 1024, MLP 2048, patch 32.",
        "Published: ViT paper, Figure 8, read from its vector graphics.",
    )
    return Drawing(title="Figure 8: scaling the transformer's dimensions", canvas=canvas, notes=notes)


def draw9(_: FigureRequest) -> Drawing:
    """5-shot accuracy during pre-training, with a class token and with the mean of tokens (GAP)."""
    styles = style.SeriesStyles()
    canvas = style.canvas(style.COLUMN * 1.15, 2.6)
    axes = canvas.subplots()
    style.series(axes, styles, published.digitized("ViT Figure 9"), markevery=3, markersize=3.5)
    axes.set_xlabel("epochs of pre-training")
    axes.set_ylabel("ImageNet linear 5-shot top-1 (%)")
    style.legend(canvas, styles, columns=3, ours=False)
    notes = ("Published: ViT paper, Figure 9, read from its vector graphics. The paper does not name the model.",)
    return Drawing(title="Figure 9: class token and global average pooling", canvas=canvas, notes=notes)


def _words(series: str) -> str:
    return {"Width MLP": "MLP width", "All": "all"}.get(series, series[:1].lower() + series[1:])


FIGURE8 = Figure(name="8", summary="scaling depth, width, MLP width and patch size (published points)", draw=draw8)
FIGURE9 = Figure(name="9", summary="class token against global average pooling (published points)", draw=draw9)
