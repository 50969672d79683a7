"""Exercises of 03_cvae: a condition, a price, what counts, blur, and where codes come from."""

import numpy as np

from utils.exercises import ChoiceExercise, Exercise, NumberExercise


def _bits(rng, *shape):
    return rng.integers(0, 2, shape).astype(float)


def _condition(x, seen):
    return (2 * x - 1) * seen  # −1 for black, 1 for white, 0 for hidden


condition = Exercise(
    "condition",
    "Write condition(x, seen): −1 for seen black, 1 for seen white, 0 for hidden, (B, D).",
    solution=_condition,
    cases=[
        (np.array([[0.0, 1.0, 0.0, 1.0]]), np.array([[1.0, 1.0, 0.0, 0.0]])),
        lambda rng: (_bits(rng, 5, 12), _bits(rng, 5, 12)),
    ],
    wrong=[
        (
            lambda x, s: x * s,
            "black pixels are 0, and so are hidden ones: the network cannot tell them apart.",
        ),
        (
            lambda x, s: (2 * x - 1) * (1 - s),
            "this shows what should be hidden, the answer itself, and hides what is seen.",
        ),
        (
            lambda x, s: 2 * x - 1,
            "the whole image is shown; hidden pixels must be 0.",
        ),
        (
            lambda x, s: 2 * x * s - 1,
            "hidden pixels come out as −1, which says that they are black.",
        ),
        (
            lambda x, s: np.where(s > 0, x, -1),
            "hidden is −1 and black is 0 here. That can be told apart too, but the model of part 3 "
            "expects −1 for black, 1 for white and 0 for hidden.",
        ),
        (
            lambda x, s: (1 - 2 * x) * s,
            "black and white have changed places.",
        ),
    ],
    hints=[
        "2·x − 1 turns 0 and 1 into −1 and 1.",
        "Multiply by the mask: hidden pixels become 0.",
    ],
    correct="three values, so that hidden is neither black nor white.",
)


def _kl_gaussians(mean, log_var, mean_p, log_var_p):
    spread = (np.exp(log_var) + (mean - mean_p) ** 2) / np.exp(log_var_p)
    return 0.5 * (spread - 1 + log_var_p - log_var).sum(axis=1)


def _four(rng):
    return tuple(rng.normal(size=(6, 4)) for _ in range(4))


kl_gaussians = Exercise(
    "kl_gaussians",
    "Write kl_gaussians(mean, log_var, mean_p, log_var_p): KL(q‖p) in nats, (B, latents) to (B,).",
    solution=_kl_gaussians,
    cases=[
        tuple(np.array([[value]]) for value in (1.0, 0.0, 0.0, 0.7)),
        _four,
    ],
    wrong=[
        (
            lambda m, v, mp, vp: 0.5 * (np.exp(v) + m**2 - 1 - v).sum(axis=1),
            "this is the KL from N(0, 1); the prior has a mean and a variance of its own.",
        ),
        (
            lambda m, v, mp, vp: _kl_gaussians(mp, vp, m, v),
            "this is KL(p‖q); the average runs over q, so q comes first.",
        ),
        (
            lambda m, v, mp, vp: (
                0.5 * ((np.exp(v) + (m - mp) ** 2) / np.exp(vp) - 1 + vp - v).mean(axis=1)
            ),
            "this is the mean over the latents; the KL sums over them.",
        ),
        (
            lambda m, v, mp, vp: 2 * _kl_gaussians(m, v, mp, vp),
            "twice too large: the factor ½ is missing.",
        ),
        (
            lambda m, v, mp, vp: -_kl_gaussians(m, v, mp, vp),
            "the sign is turned: a KL divergence is never negative.",
        ),
        (
            lambda m, v, mp, vp: (
                0.5 * (np.exp(v) / np.exp(vp) + (m - mp) ** 2 - 1 + vp - v).sum(axis=1)
            ),
            "the distance of the means counts in units of the prior's variance: divide it as well.",
        ),
        (
            lambda m, v, mp, vp: (
                0.5 * ((np.exp(v) + (m - mp) ** 2) / np.exp(vp) - 1 + v - vp).sum(axis=1)
            ),
            "the two logarithms have changed places: it is log σ_p² − log σ².",
        ),
        (
            lambda m, v, mp, vp: _kl_gaussians(m, 2 * v, mp, 2 * vp),
            "log_var is read as log σ; it is log σ², so σ² = exp(log_var).",
        ),
    ],
    hints=[
        "The formula stands in part 1, under “The bound”.",
        "σ² is np.exp(log_var); both σ² and (μ − μ_p)² are divided by σ_p².",
        "With mean_p = 0 and log_var_p = 0 it must give the KL of 02_vae.",
    ],
    correct="zero where q equals the prior, whatever prior that is.",
)


def _hidden_nll(x, p, seen):
    cost = -(x * np.log(p) + (1 - x) * np.log(1 - p))
    return (cost * (1 - seen)).sum(axis=1)


def _cost(x, p):
    return -(x * np.log(p) + (1 - x) * np.log(1 - p))


hidden_nll = Exercise(
    "hidden_nll",
    "Write hidden_nll(x, p, seen): −log p of the hidden pixels in nats, (B, D) to (B,).",
    solution=_hidden_nll,
    cases=[
        (np.array([[1.0, 0.0, 1.0]]), np.array([[0.5, 0.2, 0.9]]), np.array([[0.0, 0.0, 1.0]])),
        lambda rng: (_bits(rng, 5, 12), rng.uniform(0.05, 0.95, (5, 12)), _bits(rng, 5, 12)),
    ],
    wrong=[
        (
            lambda x, p, s: _cost(x, p).sum(axis=1),
            "all pixels count here; those that are seen are known and cost nothing.",
        ),
        (
            lambda x, p, s: (_cost(x, p) * s).sum(axis=1),
            "these are the seen pixels; the hidden ones are where the mask is 0.",
        ),
        (
            lambda x, p, s: (_cost(x, p) * (1 - s)).mean(axis=1),
            "this is a mean over pixels; a log-likelihood sums over them.",
        ),
        (
            lambda x, p, s: (_cost(x, p) * (1 - s)).sum(axis=1) / (1 - s).sum(axis=1),
            "this is the cost of one hidden pixel; sum over them, do not average.",
        ),
        (
            lambda x, p, s: -(_cost(x, p) * (1 - s)).sum(axis=1),
            "the sign is turned: this is the log-likelihood, and a cost is positive.",
        ),
        (
            lambda x, p, s: -(x * np.log(p) * (1 - s)).sum(axis=1),
            "only the white pixels count here; a black one costs −log(1 − p).",
        ),
        (
            lambda x, p, s: (_cost(x, p) * (1 - s)).sum(),
            "this is one number for the whole batch; sum over the pixels only, axis 1.",
        ),
    ],
    hints=[
        "A pixel costs −log p if it is on and −log(1 − p) if it is off.",
        "Multiply by 1 − seen before you sum over axis 1.",
    ],
    correct="only what was hidden is paid for.",
)


def _price_of_blur():
    one_by_one = 12 * np.log(2)  # p = ½ for each pixel: −log ½ twelve times
    with_code = np.log(2)  # one coin says which half; then every pixel is certain
    return one_by_one - with_code


price_of_blur = NumberExercise(
    "price_of_blur",
    "Twelve pixels, all on or all off with equal chances: how many nats does a code save?",
    solution=_price_of_blur,
    tolerance=2e-3,
    wrong=[
        (12 * np.log(2), "that is what the twelve cost one by one; the code costs something too."),
        (np.log(2), "that is what the code costs, one coin for all; what is the difference?"),
        (11, "that is right in bits; one bit is log 2 nats."),
        (12, "those are bits, and the code's own cost is missing."),
        (0, "on average the network's mean image is right, but its pixels are never certain."),
    ],
    hints=[
        "One by one, the best answer is p = ½ for every pixel. What does that cost?",
        "With a code, one coin is tossed, and then every pixel is certain.",
        "12 log 2 − log 2.",
    ],
    correct="eleven coins too many, each worth log 2.",
)

where_from = ChoiceExercise(
    "where_from",
    "To complete a digit of which you see a quarter, the code is drawn from …",
    options={
        "a": "q(z|x, c), with the hidden pixels of x set to black",
        "b": "p(z|c), the learned prior",
        "c": "N(0, I), as in a VAE",
        "d": "q(z|x, c), with x from the test set",
    },
    answer="b",
    why={
        "a": "q has never met an image with a black quadrant: it would encode that very image.",
        "b": "the prior knows the condition and nothing else, which is all there is at test time.",
        "c": "this model's prior is learned: the decoder has never met codes from N(0, I).",
        "d": "that x holds the answer. It measures a likelihood, but it completes nothing.",
    },
    hints=[
        "At test time there is a condition, and no answer.",
        "Which of the three networks need not see the answer, and still speaks of z?",
    ],
)
