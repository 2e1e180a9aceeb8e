"""UC Merced: land use from above, 100 images of each of 21 classes, most of 256 x 256 pixels."""

from ..formats import ClassFolders
from ..image_set import ImageSet, downloads

UC_MERCED = ImageSet(
    name="UC Merced",
    downloads=downloads("UC Merced"),
    raw=ClassFolders(
        folders=("UCMerced_LandUse/Images", ""),
        markers=("mobilehomepark", "storagetanks"),
        files="{name}[0-9][0-9].tif",  # at most 100 a class, so 2100 files have all published names and no other
        key="{file}",
    ),
    note="No official split exists: everything depends on the TFDS order. It follows from the published file names, so "
    "a copy with other names is refused.",
)
