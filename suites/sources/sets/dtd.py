"""DTD: textures. VTAB uses the first of its ten partitions."""

from ..formats import ListFiles
from ..image_set import Download, ImageSet

DTD = ImageSet(
    name="DTD",
    downloads=(
        Download(
            url="https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
            size=625239812,
            digest="e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205",
            into="dtd",
        ),
    ),
    torchvision=ListFiles(
        folders=("dtd/dtd",),
        lists={"train": "labels/train1.txt", "validation": "labels/val1.txt", "test": "labels/test1.txt"},
        images="images",
        name=lambda line: line,
        annotation=lambda line: line.partition("/")[0],
    ),
)
