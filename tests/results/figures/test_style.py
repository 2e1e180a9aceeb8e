"""What all figures share: a legend is no wider than its figure."""

from __future__ import annotations

import pytest
from vit_bench.results.figures import style


@pytest.mark.parametrize(("letters", "columns"), [(1, 4), (4, 3), (8, 2), (21, 1)])
def test_a_legend_has_as_many_columns_as_its_figure_is_wide(letters: int, columns: int) -> None:
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(style.COLUMN, 2))
    styles = style.SeriesStyles()
    for name in "abcd":
        styles.filled(name * letters)
    style.legend(canvas, styles)
    (legend,) = canvas.legends
    assert legend.get_window_extent().width <= canvas.bbox.width
    assert legend._ncols == columns
