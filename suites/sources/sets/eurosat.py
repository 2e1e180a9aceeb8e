"""EuroSAT: land cover from above, the RGB images."""

from ..formats import ClassFolders
from ..image_set import Download, ImageSet

EUROSAT = ImageSet(
    name="EuroSAT",
    downloads=(
        Download(
            url="https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
            size=94280567,
            digest="c8fa014336c82ac7804f0398fcb19387",
            into="eurosat",
        ),
    ),
    torchvision=ClassFolders(folders=("eurosat/2750",)),
    note="No official split exists: everything depends on the TFDS order.",
)
