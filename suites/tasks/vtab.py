"""VTAB's nineteen tasks, in the paper's three groups and its order.

Sources: VTAB paper (arXiv 1910.04867, Section 2 and Appendix A); label rules, splits and sizes as in its public code.
"train" and "val" are train800 and val200 of VTAB-1k. `present` is from task_adaptation, issue 21.
"""

from __future__ import annotations

from functools import partial

from ..protocol import Task
from . import labels

EUROSAT = "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake"
RESISC45 = """
airplane airport baseball_diamond basketball_court beach bridge chaparral church circular_farmland
cloud commercial_area dense_residential desert forest freeway golf_course ground_track_field harbor
industrial_area intersection island lake meadow medium_residential mobile_home_park mountain
overpass palace parking_lot railway railway_station rectangular_farmland river roundabout runway
sea_ice ship snowberg sparse_residential stadium storage_tank tennis_court terrace
thermal_power_station wetland
"""


def spellings(name: str) -> tuple[str, ...]:
    """A name of VTAB's public code, as programs that use it write it."""
    return f"vtab/{name}", name, name.replace("_", "-")


# Photographs of everyday things, places and digits.
row = partial(Task, collection="vtab", group="natural")

NATURAL = (
    row(
        name="Caltech101",
        image_set="Caltech101",
        num_classes=102,
        head="VTAB-1k caltech101",
        splits={"train": 800, "val": 200, "test": 6084},
        label="directory name in lower case, alphabetical; background_google is class 4",
        other_sizes={"test": 6085},  # in a copy of the vtab-1k folder
        published_splits={"train": 3060, "test": 6084},
        recipe={"train": "train[:800]", "val": "train[2754:2954]", "test": "test"},
        builder="caltech101",
        unproven="which 30 images of a class are the official train split depends on the file system it was made on; "
        "here they are drawn from the sorted names",
        majority=12.66,
        present={"val": 86},
        aliases=("caltech101", "vtab/caltech101"),
    ),
    row(
        name="CIFAR-100",
        image_set="CIFAR-100",
        num_classes=100,
        head="VTAB-1k cifar100",
        small=True,
        splits={"train": 800, "val": 200, "test": 10000},
        label="fine label",
        published_splits={"train": 50000, "test": 10000},
        recipe={"train": "train[:800]", "val": "train[45000:45200]", "test": "test"},
        builder="cifar100",
        majority=1,
        present={"val": 90},
        aliases=("cifar", "vtab/cifar100", "cifar100", "cifar(num_classes=100)"),
    ),
    row(
        name="DTD",
        image_set="DTD",
        num_classes=47,
        head="VTAB-1k dtd",
        splits={"train": 800, "val": 200, "test": 1880},
        label="texture, alphabetical",
        published_splits={"train": 1880, "validation": 1880, "test": 1880},
        recipe={"train": "train[:800]", "val": "validation[:200]", "test": "test"},
        builder="dtd",
        majority=2.128,
        aliases=("dtd", "vtab/dtd"),
    ),
    row(
        name="Flowers102",
        image_set="Flowers102",
        num_classes=102,
        head="VTAB-1k oxford_flowers102",
        splits={"train": 800, "val": 200, "test": 6149},
        label="value of imagelabels.mat minus 1",
        rule=labels.flowers_class,
        published_splits={"train": 1020, "validation": 1020, "test": 6149},
        recipe={"train": "train[:800]", "val": "validation[:200]", "test": "test"},
        builder="oxford_flowers102",
        majority=3.871,  # 238 of 6149: the largest class has 258 images, 20 of them elsewhere
        present={"val": 90},
        aliases=("oxford_flowers102", "vtab/flowers", "flowers"),
    ),
    row(
        name="Pets",
        image_set="Pets",
        num_classes=37,
        head="VTAB-1k oxford_iiit_pet",
        splits={"train": 800, "val": 200, "test": 3669},
        label="breed: CLASS-ID minus 1",
        rule=labels.pets_breed,
        published_splits={"train": 3680, "test": 3669},
        recipe={"train": "train[:800]", "val": "train[2944:3144]", "test": "test"},
        builder="oxford_iiit_pet",
        majority=2.726,
        aliases=("oxford_iiit_pet", "vtab/pets", "pets"),
    ),
    row(
        name="Sun397",
        image_set="Sun397",
        num_classes=397,
        head="VTAB-1k sun397",
        splits={"train": 800, "val": 200, "test": 21750},
        label="scene directory, alphabetical",
        published_splits={"train": 76128, "validation": 10875, "test": 21750},
        recipe={"train": "train[:800]", "val": "validation[:200]", "test": "test"},
        builder="sun397/tfds",
        majority=2.018,
        present={"train": 309},
        aliases=("sun397", "sun397/tfds"),
    ),
    row(
        name="SVHN",
        image_set="SVHN",
        num_classes=10,
        head="VTAB-1k svhn",
        small=True,
        splits={"train": 800, "val": 200, "test": 26032},
        label="digit; the stored label 10 means 0",
        rule=labels.svhn_digit,
        published_splits={"train": 73257, "test": 26032},
        recipe={"train": "train[:800]", "val": "train[65931:66131]", "test": "test"},
        builder="svhn_cropped",
        classes=("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
        majority=19.6,
        aliases=("svhn", "vtab/svhn", "svhn_cropped"),
    ),
)

# Images from special equipment, medical and aerial.
row = partial(Task, collection="vtab", group="specialized")

SPECIALIZED = (
    row(
        name="Camelyon",
        image_set="Camelyon",
        num_classes=2,
        head="VTAB-1k patch_camelyon",
        splits={"train": 800, "val": 200, "test": 32768},
        label="1 if the centre 32x32 region holds tumour tissue",
        rule=labels.pcam_tumour,
        published_splits={"train": 262144, "validation": 32768, "test": 32768},
        recipe={"train": "train[:800]", "val": "validation[:200]", "test": "test"},
        builder="patch_camelyon",
        classes=("normal", "tumour"),
        majority=50.02,
        aliases=("Patch Camelyon", "patch_camelyon", "vtab/pcam", "pcam"),
    ),
    row(
        name="EuroSAT",
        image_set="EuroSAT",
        num_classes=10,
        head="VTAB-1k eurosat",
        small=True,
        splits={"train": 800, "val": 200, "test": 5400},
        label="land cover, folder name, alphabetical",
        published_splits={"train": 27000},
        recipe={"train": "train[:800]", "val": "train[16200:16400]", "test": "train[21600:]"},
        builder="eurosat/rgb",
        classes=tuple(EUROSAT.split()),
        majority=11.5,
        aliases=("eurosat", "vtab/eurosat", "eurosat/rgb"),
    ),
    row(
        name="Resisc45",
        image_set="Resisc45",
        num_classes=45,
        head="VTAB-1k resisc45",
        splits={"train": 800, "val": 200, "test": 6300},
        label="scene, folder name, alphabetical",
        published_splits={"train": 31500},
        recipe={"train": "train[:800]", "val": "train[18900:19100]", "test": "train[25200:]"},
        builder="resisc45",
        classes=tuple(RESISC45.split()),
        majority=2.603,
        aliases=("resisc45", "vtab/resisc45"),
    ),
    row(
        name="Retinopathy",
        image_set="Retinopathy",
        num_classes=5,
        head="VTAB-1k diabetic_retinopathy",
        splits={"train": 800, "val": 200, "test": 42670},
        label="grade 0 to 4",
        rule=labels.retinopathy_grade,
        published_splits={"train": 35126, "validation": 10906, "test": 42670},
        recipe={"train": "train[:800]", "val": "validation[:200]", "test": "test"},
        builder="diabetic_retinopathy_detection/btgraham-300",
        cluster="patient",
        classes=("no", "mild", "moderate", "severe", "proliferative"),
        majority=73.6,
        aliases=(
            "Diabetic Retinopathy",
            "diabetic_retinopathy",
            "vtab/diabetic_retinopathy",
            "diabetic-retinopathy",
            'diabetic_retinopathy(config="btgraham-300")',
            "diabetic_retinopathy_detection/btgraham-300",
        ),
    ),
)

# Counting, distances, positions and angles in scenes, mostly rendered.
row = partial(Task, collection="vtab", group="structured")
clevr = partial(
    row,
    image_set="clevr",
    splits={"train": 800, "val": 200, "test": 15000},
    published_splits={"train": 70000, "validation": 15000},
    recipe={"train": "train[:800]", "val": "train[63000:63200]", "test": "validation"},
    builder="clevr",
    crop=False,
    cluster="scene",
)
dsprites = partial(
    row,
    image_set="dsprites",
    num_classes=16,
    small=True,
    splits={"train": 800, "val": 200, "test": 73728},
    published_splits={"train": 737280},
    recipe={"train": "train[:800]", "val": "train[589824:590024]", "test": "train[663552:]"},
    builder="dsprites",
    flip=False,
)
smallnorb = partial(
    row,
    image_set="smallnorb",
    splits={"train": 800, "val": 200, "test": 12150},
    published_splits={"train": 24300, "test": 24300},
    recipe={"train": "train[:800]", "val": "test[:200]", "test": "test[12150:]"},
    builder="smallnorb",
    cluster="instance",
)

STRUCTURED = (
    clevr(
        name="Clevr-Count",
        target="count",
        num_classes=8,
        head="VTAB-1k clevr-count",
        label="number of objects minus 3",
        rule=labels.clevr_count,
        classes=("3", "4", "5", "6", "7", "8", "9", "10"),
        majority=12.94,
        # Counts of a public copy, also for the distances. Two leaderboard entries that predict a single class confirm
        # them: 24.5067 % is 3676 of 15000, 12.3467 % is 1852 of 15000.
        histogram=(1898, 1925, 1843, 1852, 1808, 1941, 1877, 1856),
        aliases=("CLEVR-Count", "clevr_count", *spellings("clevr_count_all"), 'clevr(task="count_all")'),
    ),
    clevr(
        name="Clevr-Dist",
        target="distance",
        num_classes=6,
        head="VTAB-1k clevr-distance",
        label="bin of the smallest pixel_coords[2]: 8, 8.5, 9, 9.5, 10, each edge in the lower bin",
        rule=labels.clevr_distance,
        majority=24.51,
        histogram=(2996, 3676, 3381, 2370, 1357, 1220),
        aliases=(
            "CLEVR-Distance",
            "clevr_dist",
            *spellings("clevr_closest_object_distance"),
            'clevr(task="closest_object_distance")',
        ),
    ),
    row(
        name="DMLab",
        image_set="DMLab",
        num_classes=6,
        head="VTAB-1k dmlab",
        splits={"train": 800, "val": 200, "test": 22735},
        label="near, far, very far times positive, negative reward",
        rule=labels.dmlab_class,
        published_splits={"train": 65550, "validation": 22628, "test": 22735},
        recipe={"train": "train[:800]", "val": "validation[:200]", "test": "test"},
        builder="dmlab",
        crop=False,
        cluster="video",
        classes=(
            "near positive",
            "far positive",
            "very far positive",
            "near negative",
            "far negative",
            "very far negative",
        ),
        aliases=("dmlab", "vtab/dmlab"),
    ),
    dsprites(
        name="dSpr-Loc",
        target="x position",
        head="VTAB-1k dsprites-xpos",
        label="x position class // 2",
        rule=labels.dsprites_x,
        crop=False,
        majority=6.35,
        aliases=(
            "dSprites-Location",
            "dsprites_loc",
            *spellings("dsprites_label_x_position"),
            'dsprites(predicted_attribute="label_x_position",num_classes=16)',
        ),
    ),
    dsprites(
        name="dSpr-Ori",
        target="orientation",
        head="VTAB-1k dsprites-orientation",
        label="floor(orientation class / 2.5)",
        rule=labels.dsprites_orientation,
        majority=7.6,
        aliases=(
            "dSprites-Orientation",
            "dSpr-Orient",
            "dsprites_ori",
            *spellings("dsprites_label_orientation"),
            'dsprites(predicted_attribute="label_orientation",num_classes=16)',
        ),
    ),
    row(
        name="KITTI-Dist",
        image_set="KITTI-Dist",
        num_classes=4,
        head="VTAB-1k kitti-distance",
        splits={"train": 800, "val": 200, "test": 711},
        label="bin of the smallest z of Car, Van, Truck: up to 8 m, up to 20 m, beyond, none",
        rule=labels.kitti_distance,
        published_splits={"train": 6347, "validation": 423, "test": 711},
        recipe={"train": "train[:800]", "val": "validation[:200]", "test": "test"},
        builder="kitti",
        crop=False,
        cluster="video",
        unproven="the one published val200 is not in the order of the rule; the videos of each split follow the public "
        "code",
        classes=("up to 8 m", "up to 20 m", "beyond 20 m", "none"),
        aliases=(
            "KITTI-Distance",
            "kitti",
            *spellings("kitti_closest_vehicle_distance"),
            'kitti(task="closest_vehicle_distance")',
        ),
    ),
    smallnorb(
        name="sNORB-Azim",
        target="azimuth",
        num_classes=18,
        head="VTAB-1k smallnorb-azimuth",
        label="info[:, 2] // 2, steps of 20 degrees",
        rule=labels.smallnorb_azimuth,
        flip=False,
        aliases=(
            "smallNORB-Azimuth",
            "smallnorb_azi",
            *spellings("smallnorb_label_azimuth"),
            'smallnorb(predicted_attribute="label_azimuth")',
        ),
    ),
    smallnorb(
        name="sNORB-Elev",
        target="elevation",
        num_classes=9,
        head="VTAB-1k smallnorb-elevation",
        label="info[:, 1], steps of 5 degrees",
        rule=labels.smallnorb_elevation,
        aliases=(
            "smallNORB-Elevation",
            "smallnorb_ele",
            *spellings("smallnorb_label_elevation"),
            'smallnorb(predicted_attribute="label_elevation")',
        ),
    ),
)
