"""Drawn blood cells: what stands in for BCCD where it cannot be had.

A pale ground, many pink discs with pale middles (red cells, which may overlap), mostly a large one
with a dark nucleus of lobes (a white cell), and now and then small dark specks (platelets). Easier
than real cells, and no substitute for a number measured on them.
"""

import numpy as np

from utils.boxes import Truth
from utils.data.dataset import whole_number

RADII = {"red": (20, 29), "white": (38, 54), "platelet": (7, 13)}  # pixels at 240×320


def draw_cells(
    count: int, height: int = 240, width: int = 320, seed: int = 0
) -> tuple[np.ndarray, list[Truth]]:
    """Draw pictures of blood cells, with the box of each.

    Parameters
    ----------
    count
        How many pictures.
    height, width
        Their pixels; cells grow with the smaller side.
    seed
        The same seed draws the same pictures, the first of more being those of fewer.

    Returns
    -------
    ndarray, list of Truth
        ``(count, height, width, 3)`` uint8; labels are 0 red cell, 1 white cell, 2 platelet.

    Raises
    ------
    CourseError
        If a number makes no sense.
    """
    count, height = whole_number("count", count), whole_number("height", height)
    width = whole_number("width", width)
    images, truths = np.empty((count, height, width, 3), np.uint8), []
    for place in range(count):
        rng = np.random.default_rng([int(seed), place])
        images[place], truth = _picture(height, width, rng)
        truths.append(truth)
    return images, truths


def _picture(height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, Truth]:
    unit = min(height / 240, width / 320)
    ground = np.float32([0.86, 0.80, 0.78]) + rng.uniform(-0.06, 0.06, 3).astype(np.float32)
    slope = rng.uniform(-0.05, 0.05, 2).astype(np.float32)
    light = slope[0] * np.linspace(-1, 1, height)[:, None] + slope[1] * np.linspace(-1, 1, width)
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = ground + light[..., None]
    kinds = ["red"] * int(rng.integers(6, 19)) + ["white"] * int(rng.random() < 0.9)
    kinds += ["white"] * int(rng.random() < 0.1) + ["platelet"] * int(rng.poisson(1.0))
    centres, boxes, labels = np.zeros((0, 3)), [], []
    for kind in kinds:
        radius = unit * rng.uniform(*RADII[kind])
        for _ in range(15):
            x, y = rng.uniform(0, width), rng.uniform(0, height)
            apart = np.hypot(centres[:, 0] - x, centres[:, 1] - y)
            if (apart > 0.75 * (centres[:, 2] + radius)).all():
                break
        else:
            continue
        stretch = rng.uniform(0.88, 1.12)
        box = _cell(canvas, kind, x, y, radius * stretch, radius / stretch, rng)
        if box is not None:
            centres = np.vstack([centres, [x, y, radius]])
            boxes.append(box)
            labels.append(list(RADII).index(kind))
    grain = rng.standard_normal((height, width, 1), dtype=np.float32)
    image = np.rint(255 * np.clip(canvas + 0.012 * grain, 0, 1)).astype(np.uint8)
    truth = Truth(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        np.zeros(len(labels), bool),
    )
    return image, truth


def _cell(
    canvas: np.ndarray, kind: str, x: float, y: float, a: float, b: float, rng: np.random.Generator
) -> tuple[float, float, float, float] | None:
    """Paint one cell, and return its box; None, and no paint, if too little would be seen."""
    height, width = canvas.shape[:2]
    box = max(x - a, 0.0), max(y - b, 0.0), min(x + a, width), min(y + b, height)
    if (box[2] - box[0]) * (box[3] - box[1]) < 0.35 * 4 * a * b:
        return None
    left, top = max(int(x - a) - 3, 0), max(int(y - b) - 3, 0)
    right, bottom = min(int(x + a) + 4, width), min(int(y + b) + 4, height)
    if min(right - left, bottom - top) < 1 or min(box[2] - box[0], box[3] - box[1]) < 1:
        return None
    patch = canvas[top:bottom, left:right]
    v, u = np.mgrid[top:bottom, left:right].astype(np.float32) + 0.5
    u, v = (u - x) / a, (v - y) / b
    r = np.hypot(u, v)  # 1 at the rim
    tone = rng.uniform(-0.04, 0.04, 3)

    def paint(colour: tuple[float, float, float], share: np.ndarray) -> None:
        patch[:] += share[..., None] * (np.float32(colour) + tone - patch).astype(np.float32)

    inside = np.clip((1 - r) * min(a, b) / 1.5, 0, 1).astype(np.float32)  # a rim of 1.5 pixels
    if kind == "red":
        paint((0.78, 0.56, 0.58), 0.85 * inside)
        pale = rng.uniform(0.2, 0.6) * np.exp(-((r / 0.45) ** 2))
        paint((0.90, 0.80, 0.78), pale * inside)
        paint((0.66, 0.44, 0.50), 0.5 * inside * np.clip((r - 0.85) / 0.1, 0, 1))
    elif kind == "white":
        paint((0.70, 0.62, 0.76), 0.9 * inside)
        for _ in range(int(rng.integers(2, 5))):  # the lobes of its nucleus
            turn, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.42)
            near = np.hypot(u - far * np.cos(turn), v - far * np.sin(turn))
            lobe = np.clip((rng.uniform(0.35, 0.5) - near) * min(a, b) / 2, 0, 1)
            paint((0.42, 0.24, 0.56), lobe * inside)
    else:
        paint((0.52, 0.36, 0.62), 0.9 * inside)
    return box
