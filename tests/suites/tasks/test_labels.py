"""The label rules, at every threshold and just beside it, and on what no published file holds."""

from __future__ import annotations

import pytest
from vit_bench.suites.tasks import labels, tasks


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (0.001, 0), (8.0, 0), (8.001, 1), (8.5, 1), (8.501, 2), (9.0, 2), (9.001, 3), (9.5, 3), (9.501, 4), (10.0, 4),
        (10.001, 5), (100.0, 5),
    ],
)  # fmt: skip
def test_clevr_distance(depth: float, expected: int) -> None:
    assert labels.clevr_distance([depth]) == expected
    assert labels.clevr_distance([99.0, depth, 100.0]) == (expected if depth < 99 else 5)


@pytest.mark.parametrize(
    ("z", "expected"), [(-5.0, 0), (0.0, 0), (8.0, 0), (8.001, 1), (20.0, 1), (20.001, 2), (998.0, 2), (999.0, 2)]
)
def test_kitti_distance(z: float, expected: int) -> None:
    for kind in ("Car", "Van", "Truck"):
        assert labels.kitti_distance([(kind, z)]) == expected
    assert labels.kitti_distance([("Pedestrian", 1.0), ("Car", z), ("Van", 999.0), ("DontCare", -1000.0)]) == expected


def test_kitti_without_a_vehicle() -> None:
    assert labels.kitti_distance([]) == 3
    assert labels.kitti_distance([("Pedestrian", 1.0), ("Tram", 5.0), ("DontCare", -1000.0)]) == 3


def test_every_value_of_the_counting_rules() -> None:
    assert [labels.clevr_count(n) for n in range(3, 11)] == list(range(8))
    assert [labels.dsprites_x(x) for x in range(32)] == [x for x in range(16) for _ in range(2)]
    widths = [3, 2] * 8  # source classes in each bin
    assert [labels.dsprites_orientation(o) for o in range(40)] == [b for b in range(16) for _ in range(widths[b])]
    assert [labels.smallnorb_azimuth((9, 8, a, 5)) for a in range(0, 36, 2)] == list(range(18))
    assert [labels.smallnorb_elevation((9, e, 34, 5)) for e in range(9)] == list(range(9))
    assert [labels.svhn_digit(d) for d in range(1, 11)] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert [labels.flowers_class(c) for c in (1, 2, 102)] == [0, 1, 101]
    assert [labels.pets_breed(c) for c in (1, 2, 37)] == [0, 1, 36]
    assert [labels.cars_model(c) for c in range(1, 197)] == list(range(196))
    assert [labels.retinopathy_grade(g) for g in range(5)] == list(range(5))
    assert [labels.pcam_tumour(t) for t in (0, 1)] == [0, 1]
    assert [labels.dmlab_class(c) for c in range(6)] == list(range(6))


@pytest.mark.parametrize(
    ("rule", "value", "message"),
    [
        (labels.clevr_count, 2, "objects in a scene: 2; expected 3 to 10"),
        (labels.clevr_count, 11, "objects in a scene: 11"),
        (labels.clevr_distance, [], "without objects"),
        (labels.clevr_distance, [0.0], "depth: 0.0; expected above 0 and at most 100"),
        (labels.clevr_distance, [100.1], "depth: 100.1"),
        (labels.clevr_distance, [float("nan")], "depth: nan"),
        (labels.kitti_distance, [("Car", -100.0)], "z: -100.0; expected above -100"),
        (labels.dsprites_x, 32, "32; expected 0 to 31"),
        (labels.dsprites_orientation, 40, "40; expected 0 to 39"),
        (labels.dsprites_orientation, -1, "-1; expected 0 to 39"),
        (labels.smallnorb_azimuth, (0, 0, 36, 0), "36; expected 0 to 34"),
        (labels.smallnorb_azimuth, (0, 0, 3, 0), "3; expected an even number"),
        (labels.smallnorb_elevation, (0, 9, 0, 0), "9; expected 0 to 8"),
        (labels.svhn_digit, 0, "0; expected 1 to 10"),
        (labels.flowers_class, 0, "0; expected 1 to 102"),
        (labels.pets_breed, 38, "38; expected 1 to 37"),
        (labels.cars_model, 0, "0; expected 1 to 196"),
        (labels.cars_model, 197, "197; expected 1 to 196"),
        (labels.retinopathy_grade, 5, "5; expected 0 to 4"),
        (labels.pcam_tumour, 2, "2; expected 0 to 1"),
        (labels.dmlab_class, 6, "6; expected 0 to 5"),
    ],
)
def test_what_no_published_file_holds_is_refused(rule, value, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rule(value)


def test_rules_reach_every_class_of_their_task_and_no_other() -> None:
    spaces = {
        "Clevr-Count": range(3, 11),
        "Clevr-Dist": [[d] for d in (1.0, 8.2, 8.7, 9.2, 9.7, 50.0)],
        "KITTI-Dist": [[("Car", z)] for z in (1.0, 9.0, 30.0)] + [[]],
        "dSpr-Loc": range(32),
        "dSpr-Ori": range(40),
        "sNORB-Azim": [(0, 0, a, 0) for a in range(0, 36, 2)],
        "sNORB-Elev": [(0, e, 0, 0) for e in range(9)],
        "SVHN": range(1, 11),
        "Flowers102": range(1, 103),
        "Pets": range(1, 38),
        "Retinopathy": range(5),
        "Camelyon": range(2),
        "DMLab": range(6),
    }
    with_rule = {task.name for task in tasks().values() if task.rule is not None and task.collection == "vtab"}
    assert with_rule == set(spaces)
    for name, space in spaces.items():
        rule = tasks()[name].rule
        assert rule is not None
        assert {rule(value) for value in space} == set(range(tasks()[name].num_classes))
