"""Label rules: functions from an image's annotation in the published files to its class number.

The rules are those of the VTAB paper's public code. Each raises ValueError for an annotation that no published file
has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

CLEVR_DEPTHS = (0.0, 8.0, 8.5, 9.0, 9.5, 10.0, 100.0)  # lower edges, in the unit of pixel_coords[2]
KITTI_METRES = (-100.0, 8.0, 20.0, 999.0)  # lower edges of the distance
KITTI_VEHICLES = ("Car", "Van", "Truck")
NO_VEHICLE = 1000.0  # its distance


def clevr_count(objects: int) -> int:
    """0 to 7 for 3 to 10 objects."""
    return _within(objects, 3, 10, "objects in a scene") - 3


def clevr_distance(depths: Sequence[float]) -> int:
    """0 to 5: the bin of the smallest depth (third of `pixel_coords`). A value at an edge is in the lower bin."""
    if not depths:
        raise ValueError("a scene without objects has no closest object")
    return _bin(min(depths), CLEVR_DEPTHS, "depth")


def kitti_distance(objects: Iterable[tuple[str, float]]) -> int:
    """0 to 3: nearest vehicle up to 8 m, up to 20 m, beyond, none; from each object's type and z in metres."""
    metres = [z for kind, z in objects if kind in KITTI_VEHICLES]
    return _bin(min([*metres, NO_VEHICLE]), (*KITTI_METRES, float("inf")), "z")


def dsprites_x(x_class: int) -> int:
    """0 to 15 for the 32 horizontal positions, two a class; from the position's index, not from its float value."""
    return _within(x_class, 0, 31, "the x position's class") // 2


def dsprites_orientation(orientation_class: int) -> int:
    """0 to 15 for the 40 orientations: floor(class / 2.5), so that even classes hold three and odd ones two."""
    return 2 * _within(orientation_class, 0, 39, "the orientation's class") // 5


def smallnorb_azimuth(info: Sequence[int]) -> int:
    """0 to 17, steps of 20 degrees; from an info row (instance, elevation, azimuth, lighting), azimuth 0, 2, … 34."""
    azimuth = _within(info[2], 0, 34, "the azimuth")
    if azimuth % 2:
        raise ValueError(f"the azimuth is {azimuth}; expected an even number")
    return azimuth // 2


def smallnorb_elevation(info: Sequence[int]) -> int:
    """0 to 8, 30 to 70 degrees in steps of 5; from an info row (instance, elevation, azimuth, lighting)."""
    return _within(info[1], 0, 8, "the elevation")


def svhn_digit(stored: int) -> int:
    """The digit: 1 to 9 as stored, and 10 for 0."""
    return _within(stored, 1, 10, "the stored digit") % 10


def flowers_class(stored: int) -> int:
    """0 to 101 from imagelabels.mat, which counts from 1."""
    return _within(stored, 1, 102, "the stored class") - 1


def pets_breed(stored: int) -> int:
    """0 to 36 from the CLASS-ID of trainval.txt and test.txt, which counts from 1."""
    return _within(stored, 1, 37, "CLASS-ID") - 1


def cars_model(stored: int) -> int:
    """0 to 195 from the class of Stanford Cars' annotation files, which counts from 1."""
    return _within(stored, 1, 196, "the stored class") - 1


def retinopathy_grade(level: int) -> int:
    """0 (none) to 4 (proliferative), as in the column `level`."""
    return _within(level, 0, 4, "level")


def pcam_tumour(stored: int) -> int:
    """1 where the centre 32 x 32 pixels hold tumour tissue."""
    return _within(stored, 0, 1, "the stored class")


def dmlab_class(stored: int) -> int:
    """0 to 5: near, far, very far positive reward; near, far, very far negative reward."""
    return _within(stored, 0, 5, "label")


def _within(value: int, low: int, high: int, what: str) -> int:
    if not low <= value <= high:
        raise ValueError(f"{what}: {value}; expected {low} to {high}")
    return int(value)


def _bin(value: float, edges: Sequence[float], what: str) -> int:
    """The last bin whose lower edge is below the value. The last edge is the upper limit."""
    if not edges[0] < value <= edges[-1]:
        raise ValueError(f"{what}: {value}; expected above {edges[0]:g} and at most {edges[-1]:g}")
    return sum(edge < value for edge in edges[:-1]) - 1
