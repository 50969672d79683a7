"""Data for the course, and the ladder that finds it: nothing here needs a network.

MNIST comes from the first rung that holds it: the directory named in ``COURSE_DATA``, the cache,
the mirrors, and at the foot 1,797 real digits that scikit-learn carries with it. The learner's
own pictures take MNIST's place through `from_images` and `from_idx`. Sprites, with known factors,
are drawn; so are letters in many typefaces, and points on a ring and digits stacked to 1,000
classes, whose modes can be counted. For detection there are scenes of digits, drawn with the box of
each, and BCCD's blood cells, whose place the learner's own take through `from_voc`.

``python -m utils.data`` fetches what can be fetched and says what it found.

Each further dataset is a module beside `digits`: it describes its files as a
`utils.data.ladder.Listing` and returns a `Dataset`.
"""

from utils.data.bccd import bccd
from utils.data.cells import draw_cells
from utils.data.dataset import Dataset, batches, binarise, check_batch, flatten
from utils.data.detection import Detection, flipped, jittered
from utils.data.digits import centre, mnist
from utils.data.idx import read_idx, write_idx
from utils.data.inputs import crops, grey, in_parts
from utils.data.ladder import cache_directory, writable
from utils.data.letters import draw_letters, letters
from utils.data.modes import Stacked, ring, ring_centres, stacked
from utils.data.own import from_idx, from_images
from utils.data.scenes import draw_scenes, scenes
from utils.data.sprites import Sprites, draw_sprites, sample_factors, sprites
from utils.data.voc import from_voc, parse_voc

__all__ = [
    "Dataset",
    "Detection",
    "Sprites",
    "Stacked",
    "batches",
    "bccd",
    "binarise",
    "cache_directory",
    "centre",
    "check_batch",
    "crops",
    "draw_cells",
    "draw_letters",
    "draw_scenes",
    "draw_sprites",
    "flatten",
    "flipped",
    "from_idx",
    "from_images",
    "from_voc",
    "grey",
    "in_parts",
    "jittered",
    "letters",
    "mnist",
    "parse_voc",
    "read_idx",
    "ring",
    "ring_centres",
    "sample_factors",
    "scenes",
    "sprites",
    "stacked",
    "writable",
    "write_idx",
]
