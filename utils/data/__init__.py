"""Data for the course, and the ladder that finds it: nothing here needs a network.

MNIST comes from the first rung that holds it: the directory named in ``COURSE_DATA``, the cache,
the mirrors, and at the foot 1,797 real digits that scikit-learn carries with it. The learner's
own pictures take MNIST's place through `from_images` and `from_idx`. Sprites, with known factors,
are drawn.

``python -m utils.data`` fetches what can be fetched and says what it found.

Each further dataset is a module beside `digits`: it describes its files as a
`utils.data.ladder.Listing` and returns a `Dataset`.
"""

from utils.data.dataset import Dataset, batches, binarise, check_batch, flatten
from utils.data.digits import centre, mnist
from utils.data.idx import read_idx, write_idx
from utils.data.ladder import cache_directory
from utils.data.own import from_idx, from_images
from utils.data.sprites import Sprites, draw_sprites, sample_factors, sprites

__all__ = [
    "Dataset",
    "Sprites",
    "batches",
    "binarise",
    "cache_directory",
    "centre",
    "check_batch",
    "draw_sprites",
    "flatten",
    "from_idx",
    "from_images",
    "mnist",
    "read_idx",
    "sample_factors",
    "sprites",
    "write_idx",
]
