"""The models that the ViT paper compares with and another library builds.

Noisy Student: ViT paper, Table 2, with the weights of 800 pixels (released at 475 as well). The parameter count is with
the 1000 classes of its head; the paper of Noisy Student says 480 M.
"""

from __future__ import annotations

from ..external.rows import named_row
from ..spec import Input

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

NOISY_STUDENT = named_row(
    "Noisy Student (EfficientNet-L2)",
    "timm:tf_efficientnet_l2.ns_jft_in1k",
    480_309_308,
    Input(size=(800, 800), mean=IMAGENET_MEAN, std=IMAGENET_STD, interpolation="bicubic"),
    "Noisy Student",
    "EfficientNet-L2",
    "noisy_student_efficientnet_l2",
    "tf_efficientnet_l2.ns_jft_in1k",
    "tf_efficientnet_l2_ns",
)
