"""Exercises of 18_distributed: uneven shards, the ring, its bill, the sampler, the warm-up."""

import numpy as np

from utils.exercises import Exercise


def _merge(gradients, sizes):
    shares = np.asarray(sizes) / np.sum(sizes)
    return np.tensordot(shares, np.asarray(gradients), axes=1)


merge = Exercise(
    "merge",
    "Write merge(gradients, sizes): the whole batch's mean gradient from those of its shards.",
    solution=_merge,
    cases=[
        (np.array([[1.0, 0.0], [3.0, 8.0]]), np.array([3.0, 1.0])),
        (np.array([[1.0], [2.0], [6.0]]), np.array([4.0, 4.0, 2.0])),
        lambda rng: (rng.normal(size=(4, 3, 2)), rng.integers(1, 9, 4).astype(float)),
    ],
    wrong=[
        (
            lambda gradients, sizes: np.mean(gradients, axis=0),
            "this is right for equal shards; here an image of a small shard counts for more.",
        ),
        (
            lambda gradients, sizes: np.tensordot(sizes, gradients, axes=1),
            "this is the gradient of the sum: divide by the number of images in all.",
        ),
        (
            lambda gradients, sizes: np.tensordot(sizes, gradients, axes=1) / len(sizes),
            "you divide by the number of workers; divide by the number of images.",
        ),
        (lambda gradients, sizes: np.sum(gradients, axis=0), "this adds the means up."),
        (
            lambda gradients, sizes: np.tensordot(
                (1 / np.asarray(sizes)) / np.sum(1 / np.asarray(sizes)), gradients, axes=1
            ),
            "the weights are upside down: the larger shard has more to say.",
        ),
    ],
    hints=[
        "A mean times its count is a sum; add the sums, and divide once.",
        "The weight of a shard is its size, divided by the sum of all sizes.",
    ],
    correct="each image counts once again.",
)


def _scattered(values):
    chunks = np.array(values, float)
    n = len(chunks)
    for turn in range(n - 1):
        out = [chunks[rank, (rank - turn) % n] for rank in range(n)]
        for rank in range(n):
            chunks[rank, (rank - turn - 1) % n] += out[rank - 1]
    return chunks


def _one_more(values):
    chunks = _scattered(values)
    n = len(chunks)
    out = [chunks[rank, (rank - n + 1) % n] for rank in range(n)]
    for rank in range(n):
        chunks[rank, (rank - n) % n] += out[rank - 1]
    return chunks


def _leftwards(values):
    chunks = np.array(values, float)
    n = len(chunks)
    for turn in range(n - 1):
        out = [chunks[rank, (rank + turn) % n] for rank in range(n)]
        for rank in range(n):
            chunks[rank, (rank + turn + 1) % n] += out[(rank + 1) % n]
    return chunks


def _instead(values):
    chunks = np.array(values, float)
    n = len(chunks)
    for turn in range(n - 1):
        out = [chunks[rank, (rank - turn) % n] for rank in range(n)]
        for rank in range(n):
            chunks[rank, (rank - turn - 1) % n] = out[rank - 1]
    return chunks


scattered = Exercise(
    "scattered",
    "Write scattered(values): the ring's reduce-scatter; row r is process r, column c its chunk.",
    solution=_scattered,
    cases=[
        (np.array([[1.0, 2.0], [10.0, 20.0]]),),
        (np.array([[1.0, 2.0, 4.0], [10.0, 20.0, 40.0], [100.0, 200.0, 400.0]]),),
        lambda rng: (rng.integers(0, 100, (5, 5)).astype(float),),
    ],
    wrong=[
        (
            lambda values: np.tile(np.sum(values, axis=0), (len(values), 1)),
            "this is after the whole all-reduce; half way each process has one complete chunk.",
        ),
        (
            _one_more,
            "that is one turn too many: n − 1 turns, or the first process's own part counts twice.",
        ),
        (_leftwards, "your ring runs the other way: in ring.py everybody sends to rank + 1."),
        (_instead, "what comes from the left is added, not put in place of one's own."),
    ],
    hints=[
        "In turn t, process r sends chunk (r − t) mod n to the right …",
        "… and adds what comes from r − 1 to its chunk (r − t − 1) mod n.",
    ],
    correct="process r ends with chunk r + 1 complete.",
)


def _seconds(n, size, alpha, beta):
    return 2 * (n - 1) * (alpha + beta * size / n)


seconds = Exercise(
    "seconds",
    "Write seconds(n, size, alpha, beta): the time of a ring all-reduce of `size` bytes.",
    solution=_seconds,
    cases=[
        (2.0, 1e6, 1e-4, 1e-9),
        (8.0, 1e8, 1e-5, 1e-10),
        lambda rng: (float(rng.integers(2, 99)), 1e7 * rng.random(), 1e-4, 1e-9),
    ],
    wrong=[
        (
            lambda n, size, alpha, beta: (n - 1) * (alpha + beta * size / n),
            "this is the reduce-scatter; the all-gather takes as long again.",
        ),
        (
            lambda n, size, alpha, beta: 2 * (n - 1) * (alpha + beta * size),
            "a message is a chunk: an n-th of the bytes.",
        ),
        (
            lambda n, size, alpha, beta: 2 * alpha + 2 * (n - 1) / n * beta * size,
            "each of the 2 (n − 1) turns has its latency.",
        ),
        (
            lambda n, size, alpha, beta: 2 * n * (alpha + beta * size / n),
            "n − 1 turns, not n: one's own chunk need not travel.",
        ),
        (
            lambda n, size, alpha, beta: 2 * (n - 1) / n * beta * size,
            "the latency α is missing.",
        ),
    ],
    hints=[
        "2 (n − 1) turns, and in each a message of size / n bytes.",
        "A message of b bytes takes α + β b.",
    ],
    correct="and for large n it is 2nα + 2βS: the bytes no longer grow, the latencies do.",
)


def _indices_of(permutation, rank, world):
    permutation = np.asarray(permutation)
    each = -(-len(permutation) // world)
    padded = np.resize(permutation, each * world)
    return padded[rank::world]


indices_of = Exercise(
    "indices_of",
    "Write indices_of(permutation, rank, world): what one rank sees in an epoch, all equally much.",
    solution=_indices_of,
    cases=[
        (np.array([4, 2, 0, 1, 3]), 0, 2),
        (np.array([4, 2, 0, 1, 3]), 1, 2),
        (np.array([5, 3, 1, 0, 2, 4]), 1, 3),
        (np.array([6, 5, 4, 3, 2, 1, 0]), 2, 3),
        lambda rng: (rng.permutation(10), 3, 4),
    ],
    wrong=[
        (
            lambda permutation, rank, world: np.asarray(permutation)[rank::world],
            "where the images do not divide, some ranks get fewer, and the others wait for ever.",
        ),
        (
            lambda permutation, rank, world: np.asarray(permutation)[
                : len(permutation) // world * world
            ][rank::world],
            "this drops images (drop_last); here the first ones are repeated.",
        ),
        (
            lambda permutation, rank, world: np.resize(
                permutation, -(-len(permutation) // world) * world
            ).reshape(world, -1)[rank],
            "these are blocks; each rank takes every world-th entry.",
        ),
        (
            lambda permutation, rank, world: np.resize(
                np.sort(permutation), -(-len(permutation) // world) * world
            )[rank::world],
            "the permutation is lost.",
        ),
    ],
    hints=[
        "⌈images / world⌉ for each rank; np.resize repeats an array from its beginning.",
        "Then [rank::world].",
    ],
    correct="this is what DistributedSampler does.",
)


def _rate_of(step, base, k, warm):
    return base * (1 + (k - 1) * min(1, step / warm))


rate_of = Exercise(
    "rate_of",
    "Write rate_of(step, base, k, warm): gradual warm-up from base to k·base.",
    solution=_rate_of,
    cases=[
        (0, 0.1, 8, 10),
        (5, 0.1, 8, 10),
        (10, 0.1, 8, 10),
        (50, 0.1, 8, 10),
        (3, 0.2, 4, 12),
    ],
    wrong=[
        (
            lambda step, base, k, warm: base * k * min(1, step / warm),
            "this starts at 0; Goyal et al. start at the base rate.",
        ),
        (
            lambda step, base, k, warm: base * k * min(1, (step + 1) / warm),
            "this starts near 0; Goyal et al. start at the base rate.",
        ),
        (
            lambda step, base, k, warm: base if step < warm else base * k,
            "this jumps; the paper calls that constant warm-up, and it worked less well.",
        ),
        (lambda step, base, k, warm: base * k, "there is no warm-up in this."),
        (
            lambda step, base, k, warm: base * (1 + (k - 1) * step / warm),
            "it must stop rising after `warm` steps.",
        ),
        (
            lambda step, base, k, warm: base * k ** min(1, step / warm),
            "this rises exponentially; the paper's line is straight.",
        ),
    ],
    hints=[
        "A share s = min(1, step / warm) of the way from base to k·base.",
        "At s = 0 it is base, at s = 1 it is k·base: base · (1 + (k − 1) s).",
    ],
    correct="the paper's gradual warm-up, over its first five epochs.",
)
