"""DTD: textures. VTAB uses the first of its ten partitions."""

from ..formats import ListFiles
from ..image_set import ImageSet, downloads

DTD = ImageSet(
    name="DTD",
    downloads=downloads("DTD"),
    torchvision=ListFiles(
        folders=("dtd/dtd",),
        lists={"train": "labels/train1.txt", "validation": "labels/val1.txt", "test": "labels/test1.txt"},
        name=lambda line: line,
        annotation=lambda line: line.partition("/")[0],
    ),
)
