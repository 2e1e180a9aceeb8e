"""RESISC45: 45 folders of 700 aerial images each, in NWPU-RESISC45.rar."""

from ..formats import ClassFolders
from ..image_set import ImageSet

RESISC45 = ImageSet(
    name="Resisc45",
    archive="NWPU-RESISC45.rar",
    by_hand="There is no address that a program may use. 1. Get NWPU-RESISC45.rar from the page of its authors (Cheng, "
    "Han and Lu, 'Remote Sensing Image Scene Classification', 2017). 2. Put it at {root}/NWPU-RESISC45.rar and repeat "
    "this command, which unpacks it; or unpack it yourself, so that there is "
    "{root}/NWPU-RESISC45/airplane/airplane_001.jpg",
    raw=ClassFolders(
        folders=("NWPU-RESISC45", "resisc45/NWPU-RESISC45", "resisc45", ""), markers=("airplane", "terrace")
    ),
)
