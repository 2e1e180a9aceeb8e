"""EuroSAT: land cover from above, the RGB images."""

from ..formats import ClassFolders
from ..image_set import ImageSet, downloads

EUROSAT = ImageSet(
    name="EuroSAT",
    downloads=downloads("EuroSAT"),
    torchvision=ClassFolders(folders=("eurosat/2750",)),
    note="No official split exists: everything depends on the TFDS order.",
)
