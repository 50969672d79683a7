"""Exercises of 06_vq_vae: the nearest code, the encoder's gradient, perplexity, bits, a count."""

import math

import numpy as np

from utils.exercises import Exercise, NumberExercise


def _normal(rng, *shape):
    return rng.normal(size=shape)


def _distances(z, codebook):
    return ((z[:, None] - codebook) ** 2).sum(axis=-1)  # N×K


def _quantise(z, codebook):
    distances = ((z[:, None] - codebook) ** 2).sum(axis=-1)  # N×K
    return distances.argmin(axis=1)


_TWO = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 1.0]])

quantise = Exercise(
    "quantise",
    "Write quantise(z, codebook): for each row of z (N, D) the number of its nearest code (K, D).",
    solution=_quantise,
    cases=[
        (np.array([[0.4, 0.1], [2.0, 1.0]]), _TWO),
        (np.array([[0.9, 1.2], [-1.0, 0.2], [5.0, 5.0]]), _TWO),
        lambda rng: (_normal(rng, 40, 3), 2 * _normal(rng, 9, 3)),
    ],
    wrong=[
        (
            lambda z, e: _distances(z, e).argmax(axis=1),
            "this is the farthest code; take the argmin of the distances.",
        ),
        (
            lambda z, e: (z @ e.T).argmax(axis=1),
            "the largest inner product is not the nearest code: a long code wins it from afar. "
            "‖z − e‖² = ‖z‖² − 2 z·e + ‖e‖², and ‖e‖² differs between codes.",
        ),
        (
            lambda z, e: np.abs(z[:, None] - e).sum(axis=-1).argmin(axis=1),
            "these are distances along the axes (absolute values); square the differences.",
        ),
        (
            lambda z, e: _distances(z, e).argmin(axis=0),
            "you ask each code for its nearest vector; ask each vector for its nearest code.",
        ),
        (
            lambda z, e: _distances(z, e).min(axis=1),
            "this is the distance to the nearest code; its number is wanted, the argmin.",
        ),
        (
            lambda z, e: e[_distances(z, e).argmin(axis=1)],
            "these are the codes' vectors; their numbers are wanted.",
        ),
    ],
    hints=[
        "z[:, None] - codebook has shape (N, K, D).",
        "Square, sum over the last axis, and take the argmin over the codes.",
    ],
    correct="the nearest code of each vector, by squared distance.",
)


def _encoder_gradient(gradient, z, q, beta):
    return gradient + 2 * beta * (z - q)  # straight through, plus the commitment's own


encoder_gradient = Exercise(
    "encoder_gradient",
    "Write encoder_gradient(gradient, z, q, beta): what reaches z (N, D) of the whole loss, when "
    "`gradient` (N, D) is the reconstruction's gradient at q = z_q.",
    solution=_encoder_gradient,
    cases=[
        (np.array([[1.0, 0.0]]), np.array([[2.0, 1.0]]), np.array([[1.0, 1.0]]), 0.25),
        lambda rng: (_normal(rng, 4, 3), _normal(rng, 4, 3), _normal(rng, 4, 3), 0.4),
    ],
    wrong=[
        (
            lambda g, z, q, b: 2 * b * (z - q),
            "that is the commitment alone; straight through, the reconstruction's gradient at q "
            "arrives at z as it is.",
        ),
        (
            lambda g, z, q, b: g,
            "that is the reconstruction's alone; the commitment β‖z − sg[q]‖² pulls at z as well.",
        ),
        (
            lambda g, z, q, b: g + 2 * (1 + b) * (z - q),
            "the codebook loss is in it; that one stops its gradient at z and moves the codebook.",
        ),
        (
            lambda g, z, q, b: g + b * (z - q),
            "the derivative of a square has a factor 2.",
        ),
        (
            lambda g, z, q, b: g - 2 * b * (z - q),
            "the commitment has the wrong sign: its gradient points from q to z.",
        ),
        (
            lambda g, z, q, b: g + 2 * (z - q),
            "β is missing: it weighs the commitment.",
        ),
    ],
    hints=[
        "Which of the three terms of the loss does z's gradient come from?",
        "The reconstruction's is copied; the commitment is β times a square.",
    ],
    correct="the decoder's gradient, copied, plus the commitment's own pull.",
)


def _perplexity_of(codes, K):
    share = np.bincount(codes.ravel().astype(int), minlength=K) / codes.size
    used = share[share > 0]  # 0 log 0 counts as 0
    return np.exp(-(used * np.log(used)).sum())


def _share(codes, K):
    return np.bincount(codes.ravel().astype(int), minlength=K) / codes.size


def _entropy(codes, K):
    used = _share(codes, K)
    used = used[used > 0]
    return -(used * np.log(used)).sum()


def _naive_perplexity(codes, K):
    share = _share(codes, K)
    with np.errstate(all="ignore"):
        return np.exp(-(share * np.log(share)).sum())


def _codes(rng):
    return (rng.integers(0, 5, size=(6, 4)) ** 2 % 7, 9)


perplexity_of = Exercise(
    "perplexity_of",
    "Write perplexity_of(codes, K): exp of the entropy of the codes' shares, one number; "
    "codes may have any shape, and some of the K codes may never occur.",
    solution=_perplexity_of,
    cases=[
        (np.array([[0, 1], [2, 2]]), 4),
        (np.array([[5, 5], [5, 5]]), 8),
        _codes,
    ],
    wrong=[
        (
            _naive_perplexity,
            "right while every code occurs; but 0 · log 0 is NaN in floating point. Its limit is "
            "0: leave unused codes out of the sum.",
        ),
        (_entropy, "this is the entropy, in nats; the perplexity is its exponential."),
        (
            lambda codes, K: 2 ** _entropy(codes, K),
            "2 to the power of an entropy in nats mixes two units: exp of nats, or 2 to the bits.",
        ),
        (
            lambda codes, K: float((_share(codes, K) > 0).sum()),
            "this counts the live codes; the perplexity also minds how evenly they are used.",
        ),
        (
            lambda codes, K: np.exp(_entropy(codes, K)) / K,
            "this is a fraction of K; the perplexity is a number of codes, from 1 to K.",
        ),
        (
            lambda codes, K: np.exp(-_entropy(codes, K)),
            "the sign is turned: with two codes, evenly used, it must be 2.",
        ),
    ],
    hints=[
        "np.bincount(codes.ravel(), minlength=K) counts each code.",
        "H = −Σ p log p over the codes with p > 0; then exp(H).",
    ],
    correct="as many codes as would be in use if all were used alike.",
)


def _bits_per_dim(nll, prior, pixels):
    return (nll + prior) / (pixels * np.log(2))


bits_per_dim = Exercise(
    "bits_per_dim",
    "Write bits_per_dim(nll, prior, pixels): from −log p(x|z) and −log p(z) in nats, (N,) each, "
    "the bits for each of an image's pixels, (N,).",
    solution=_bits_per_dim,
    cases=[
        (np.array([math.log(2) * 8]), np.array([math.log(2) * 4]), 12),
        lambda rng: (60 + _normal(rng, 5), 40 + _normal(rng, 5), 784),
    ],
    wrong=[
        (
            lambda nll, prior, pixels: (nll + prior) / pixels,
            "these are nats; a bit is log 2 nats.",
        ),
        (
            lambda nll, prior, pixels: nll / (pixels * math.log(2)),
            "the codes are free in this account; whoever decodes the image needs them too.",
        ),
        (
            lambda nll, prior, pixels: (nll - prior) / (pixels * math.log(2)),
            "both are prices, −log p: they add.",
        ),
        (
            lambda nll, prior, pixels: (nll + prior) * math.log(2) / pixels,
            "log 2 is on the wrong side: there are fewer nats than bits, so divide by it.",
        ),
        (
            lambda nll, prior, pixels: (nll / pixels + prior / 49) / math.log(2),
            "the prior's nats are divided by the 49 codes; both prices are spread over the pixels.",
        ),
        (
            lambda nll, prior, pixels: np.mean((nll + prior) / (pixels * math.log(2))),
            "this is the mean over the images; keep one number for each.",
        ),
    ],
    hints=[
        "−log p(x, z) = −log p(x|z) − log p(z).",
        "From nats to bits: divide by log 2. Then spread over the pixels.",
    ],
    correct="what it costs to send the codes, and then the image to someone who has them.",
)


def _parameter_count():
    residual = (3 * 3 * 32 * 32 + 32) + (32 * 32 + 32)
    encoder = (4 * 4 * 1 * 16 + 16) + (4 * 4 * 16 * 32 + 32) + 2 * residual + (32 * 16 + 16)
    decoder = (3 * 3 * 16 * 32 + 32) + 2 * residual + (4 * 4 * 32 * 16 + 16) + (4 * 4 * 16 * 1 + 1)
    return encoder + 64 * 16 + decoder


parameter_count = NumberExercise(
    "parameter_count",
    "How many trained parameters has the VQ-VAE of part 3, with 64 codes and rule “loss”?",
    solution=_parameter_count,
    wrong=[
        (63_345, "the codebook is missing: under rule “loss” it is trained as well."),
        (65_457, "N and m are state, not parameters: they are assigned, not trained."),
        (29_632, "that is the encoder; codebook and decoder follow."),
        (33_713, "that is the decoder; encoder and codebook come first."),
        (64_000, "those are the weights; every channel of a convolution has a bias as well."),
    ],
    hints=[
        "A convolution of n×n from a to b channels has n·n·a·b weights and b biases.",
        "Encoder: 4×4 from 1 to 16, 4×4 from 16 to 32, two residual blocks, 1×1 from 32 to 16.",
        "Decoder: 3×3 from 16 to 32, two residual blocks, 4×4 from 32 to 16, 4×4 from 16 to 1.",
    ],
    correct="the number that part 6 prints for all three frameworks.",
)
