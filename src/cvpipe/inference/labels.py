"""Label lists that many models share, so that a card can say `labels: coco`."""

from __future__ import annotations

from typing import Final

# fmt: off
COCO: Final = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis",
    "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich",
    "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed",
    "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven",
    "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier",
    "toothbrush",
)
"""The 80 classes of COCO 2017, in the order of its annotations."""

VOC: Final = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
)
"""The 21 classes of Pascal VOC 2012's segmentation task, background first."""

LIP: Final = (
    "background", "hat", "hair", "glove", "sunglasses", "upper clothes", "dress", "coat", "socks", "pants", "jumpsuit",
    "scarf", "skirt", "face", "left arm", "right arm", "left leg", "right leg", "left shoe", "right shoe",
)
"""The 20 parts of Look into Person, in the order of its annotations; left and right as the person has them."""

ATR: Final = (
    "background", "hat", "hair", "sunglasses", "upper clothes", "skirt", "pants", "dress", "belt", "left shoe",
    "right shoe", "face", "left leg", "right leg", "left arm", "right arm", "bag", "scarf",
)
"""The 18 parts of ATR (fashion)."""

PASCAL_PART: Final = ("background", "head", "torso", "upper arms", "lower arms", "upper legs", "lower legs")
"""The 7 parts of Pascal Person-Part."""

COCO_KEYPOINTS: Final = (
    "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow",
    "right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee", "left ankle",
    "right ankle",
)
"""The 17 keypoints of a person in COCO, in the order of its annotations."""

COCO_SKELETON: Final = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10), (1, 2),
    (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)
"""Which of them are joined, from 0."""

FACE_KEYPOINTS: Final = ("right eye", "left eye", "nose", "right mouth corner", "left mouth corner")
"""The five of a face, right and left as the person has them, as YuNet tells them."""
# fmt: on

_NEVER_USED: Final = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83))


def _numbered() -> tuple[str, ...]:
    """`background`, then COCO's classes at the numbers that its annotations give them."""
    names = iter(COCO)
    return "background", *(f"unused {i}" if i in _NEVER_USED else next(names) for i in range(1, 91))


COCO91: Final = _numbered()
"""COCO's classes at the numbers of its annotations, 1 to 90, as networks of TensorFlow and torchvision give them."""

SHORTHANDS: Final[dict[str, tuple[str, ...]]] = {
    "coco": COCO,
    "coco91": COCO91,
    "voc": VOC,
    "lip": LIP,
    "atr": ATR,
    "pascal-part": PASCAL_PART,
}
"""What a card may write instead of a list."""

KEYPOINT_SHORTHANDS: Final[dict[str, tuple[str, ...]]] = {"coco": COCO_KEYPOINTS, "faces": FACE_KEYPOINTS}
SKELETON_SHORTHANDS: Final[dict[str, tuple[tuple[int, int], ...]]] = {"coco": COCO_SKELETON}
