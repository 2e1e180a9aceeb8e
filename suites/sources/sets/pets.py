"""Oxford-IIIT Pets: cats and dogs of 37 breeds."""

from ..formats import ListFiles
from ..image_set import Download, ImageSet

URL = "https://www.robots.ox.ac.uk/~vgg/data/pets/data"

PETS = ImageSet(
    name="Pets",
    downloads=(
        Download(
            url=f"{URL}/images.tar.gz",
            size=791918971,
            digest="67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
            into="oxford-iiit-pet",
            name="pets-images.tar.gz",
        ),
        Download(
            url=f"{URL}/annotations.tar.gz",
            size=19173078,
            digest="52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
            into="oxford-iiit-pet",
            name="pets-annotations.tar.gz",
        ),
    ),
    torchvision=ListFiles(
        folders=("oxford-iiit-pet",),
        lists={"train": "annotations/trainval.txt", "test": "annotations/test.txt"},
        images="images",
        name=lambda line: f"{line.partition(' ')[0]}.jpg",
        annotation=lambda line: int(line.split()[1]),  # name, CLASS-ID, species, breed
    ),
    note="TFDS re-encoded 12 files of the archive whose format differs from their suffix.",
)
