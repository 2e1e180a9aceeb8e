"""Oxford-IIIT Pets: cats and dogs of 37 breeds."""

from ..formats import ListFiles
from ..image_set import ImageSet, downloads

PETS = ImageSet(
    name="Pets",
    downloads=downloads("Pets"),
    torchvision=ListFiles(
        folders=("oxford-iiit-pet",),
        lists={"train": "annotations/trainval.txt", "test": "annotations/test.txt"},
        name=lambda line: f"{line.partition(' ')[0]}.jpg",
        annotation=lambda line: int(line.split()[1]),  # name, CLASS-ID, species, breed
    ),
    note="TFDS re-encoded 12 files of the archive whose format differs from their suffix.",
)
