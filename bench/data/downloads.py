"""Where the published files of data sets are, how large, and what must be in them; and what only a person can get.

Sizes and sha256 are those that TFDS publishes with its data sets, md5 those of torchvision's classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

VGG = "https://www.robots.ox.ac.uk/~vgg/data"
ZENODO = "https://zenodo.org/record/2546921/files/camelyonpatch_level_2_split"
NORB = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/smallnorb-5x"
KITTI = "https://s3.eu-central-1.amazonaws.com/avg-kitti"


@dataclass(frozen=True, kw_only=True)
class File:
    """One file to fetch."""

    url: str
    size: int | None = None  # bytes
    digest: str = ""  # sha256 (64 digits) or md5 (32), hexadecimal; "": none is published
    into: str  # folder below the data folder, for the file or what is in it
    unpack: bool = True  # whether it is an archive to be unpacked there
    name: str = ""  # where it is not the end of the URL

    @property
    def file_name(self) -> str:
        return self.name or self.url.rpartition("/")[2].partition("?")[0]


def _pcam(name: str, size: int, digest: str) -> File:
    return File(url=f"{ZENODO}_{name}.h5.gz", size=size, digest=digest, into="pcam")


def _norb(name: str, size: int, digest: str) -> File:
    return File(url=f"{NORB}{name}.mat.gz", size=size, digest=digest, into="smallnorb", unpack=False)


# Image set -> its files.
FILES: Mapping[str, tuple[File, ...]] = {
    "Caltech101": (
        File(
            url="https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip?download=1",
            size=137414764,
            digest="331234750fc7f77520e50d9565e8b6907b03565e30320da1401130db08c61f91",
            into="caltech101",
        ),
    ),
    "CIFAR-10": (
        File(
            url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            digest="c58f30108f718f92721af3b95e74349a",
            into="",
        ),
    ),
    "CIFAR-100": (
        File(
            url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            digest="eb9058c3a382ffc7106e4002c42a8d85",
            into="",
        ),
    ),
    "DTD": (
        File(
            url=f"{VGG}/dtd/download/dtd-r1.0.1.tar.gz",
            size=625239812,
            digest="e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205",
            into="dtd",
        ),
    ),
    "Flowers102": (
        File(
            url=f"{VGG}/flowers/102/102flowers.tgz",
            size=344862509,
            digest="2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
            into="flowers-102",
        ),
        File(
            url=f"{VGG}/flowers/102/imagelabels.mat",
            size=502,
            digest="4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d",
            into="flowers-102",
            unpack=False,
        ),
        File(
            url=f"{VGG}/flowers/102/setid.mat",
            size=14989,
            digest="46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd",
            into="flowers-102",
            unpack=False,
        ),
    ),
    "Pets": (
        File(
            url=f"{VGG}/pets/data/images.tar.gz",
            size=791918971,
            digest="67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
            into="oxford-iiit-pet",
            name="pets-images.tar.gz",
        ),
        File(
            url=f"{VGG}/pets/data/annotations.tar.gz",
            size=19173078,
            digest="52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
            into="oxford-iiit-pet",
            name="pets-annotations.tar.gz",
        ),
    ),
    "SVHN": (
        File(
            url="http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
            size=182040794,
            digest="435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            into="svhn",
            unpack=False,
        ),
        File(
            url="http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
            size=64275384,
            digest="cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            into="svhn",
            unpack=False,
        ),
    ),
    "Camelyon": (
        _pcam("train_x", 6421353462, "d619e741468a7ab35c7e4a75e6821b7e7e6c9411705d45708f2a0efc8960656c"),
        _pcam("train_y", 21378, "b74126d2c01b20d3661f9b46765d29cf4e4fba6faba29c8e0d09d406331ab75a"),
        _pcam("valid_x", 805965320, "f82ee1670d027b4ec388048d9eabc2186b77c009655dae76d624c0ecb053ccb2"),
        _pcam("valid_y", 3038, "ce1ae30f08feb468447971cfd0472e7becd0ad96d877c64120c72571439ae48c"),
        _pcam("test_x", 800875929, "79174c2201ad521602a5888be8f36ee10875f37403dd3f2086caf2182ef87245"),
        _pcam("test_y", 3040, "0a522005fccc8bbd04c5a117bfaf81d8da2676f03a29d7499f71d0a0bd6068ef"),
    ),
    "EuroSAT": (
        File(
            url="https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
            size=94280567,
            digest="c8fa014336c82ac7804f0398fcb19387",
            into="eurosat",
        ),
    ),
    "clevr": (
        File(
            url="https://dl.fbaipublicfiles.com/clevr/CLEVR_v1.0.zip",
            size=19021600724,
            digest="5cd61cf1096ed20944df93c9adb31e74d189b8459a94f54ba00090e5c59936d1",
            into="clevr",
        ),
    ),
    "DMLab": (
        File(
            url="https://storage.googleapis.com/dmlab-vtab/dmlab.tar.gz",
            size=3017022789,
            digest="638b18fa69a5d61bbc310cd0b87ac603a39f41de0fdb07b6e77de274a24480a4",
            into="dmlab",
        ),
    ),
    "dsprites": (
        File(
            url="https://github.com/google-deepmind/dsprites-dataset/raw/master/"
            "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
            into="dsprites",
            unpack=False,
        ),
    ),
    "KITTI-Dist": (
        File(
            url=f"{KITTI}/data_object_image_2.zip",
            size=12569945557,
            digest="351c5a2aa0cd9238b50174a3a62b846bc5855da256b82a196431d60ff8d43617",
            into="Kitti/raw",
        ),
        File(
            url=f"{KITTI}/data_object_label_2.zip",
            size=5601213,
            digest="4efc76220d867e1c31bb980bbf8cbc02599f02a9cb4350effa98dbb04aaed880",
            into="Kitti/raw",
        ),
        File(
            url=f"{KITTI}/devkit_object.zip",
            size=63794,
            digest="ce0b76b69c0c5f89690a0d65b7302bbbdb962a0c7e8aba6efc7050d1b04b4cf1",
            into="Kitti/raw/devkit",
        ),
    ),
    "smallnorb": (
        _norb(
            "46789x9x18x6x2x96x96-training-dat",
            131896188,
            "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873",
        ),
        _norb(
            "46789x9x18x6x2x96x96-training-cat", 348, "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa"
        ),
        _norb(
            "46789x9x18x6x2x96x96-training-info",
            71052,
            "de7eb932ebe7a4ee16217fead60660d0eb3d23632c2f4d1c51f88c501c17bf32",
        ),
        _norb(
            "01235x9x18x6x2x96x96-testing-dat",
            130799817,
            "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474",
        ),
        _norb(
            "01235x9x18x6x2x96x96-testing-cat", 347, "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff"
        ),
        _norb(
            "01235x9x18x6x2x96x96-testing-info",
            10428,
            "16adf314226327ee006d1a44db8cfef52773c06c829951d5653a9f6f310248a2",
        ),
    ),
}

# Archives that a person has to get; where one is in the data folder, `data prepare` unpacks it.
ARCHIVES: Mapping[str, str] = {"Resisc45": "NWPU-RESISC45.rar"}

STEPS: Mapping[str, str] = {
    "Resisc45": "There is no address that a program may use. 1. Get NWPU-RESISC45.rar from the page of "
    "its authors (Cheng, Han and Lu, 'Remote Sensing Image Scene Classification', 2017). 2. Put it at "
    "{root}/NWPU-RESISC45.rar and repeat this command, which unpacks it; or unpack it yourself, so that there is "
    "{root}/NWPU-RESISC45/airplane/airplane_001.jpg",
    "Retinopathy": "Kaggle wants an account and its rules accepted. 1. On Kaggle, join the competition "
    "'diabetic-retinopathy-detection' and get trainLabels.csv.zip, all five parts train.zip.001 to .005 and all parts "
    "test.zip.* (an incomplete download is common), and retinopathy_solution.csv from the discussion of the "
    "results. 2. Join the parts (cat train.zip.* > train.zip) and unpack them, so that there are "
    "{root}/diabetic_retinopathy/train/10_left.jpeg (35126 files), …/test/1_left.jpeg (53576 files), "
    "…/trainLabels.csv and …/retinopathy_solution.csv. 3. Install vit-bench[data]: the images are prepared with OpenCV "
    "when they are first read, which takes hours for all",
    "Sun397": "The address that torchvision knows no longer answers. 1. Get SUN397.tar.gz (39 GB) from the page of the "
    "SUN database or a copy of it. 2. Unpack it in {root}, so that there is {root}/SUN397/ClassName.txt and "
    "{root}/SUN397/a/abbey/sun_….jpg",
    "ImageNet": "ImageNet wants an account and its terms accepted. 1. Get ILSVRC2012_img_train.tar, "
    "ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz from image-net.org. 2. Put them in {root}/imagenet",
}
