"""Exercises of 05_aae: who judges what, the two losses of the game, Parzen windows, other data."""

import numpy as np

from utils.exercises import ChoiceExercise, Exercise, OwnDataExercise

judged = ChoiceExercise(
    "judged",
    "In an adversarial autoencoder, what does the discriminator tell apart?",
    options={
        "a": "images of the training set from their reconstructions",
        "b": "images of the training set from images decoded from the prior",
        "c": "codes of images from draws of the prior",
        "d": "codes of images from codes of their reconstructions",
    },
    answer="c",
    why={
        "a": "that is the popular error (it makes another model, which part 9 breaks): look at "
        "`rivals`, which hands the discriminator z and codes, and no image.",
        "b": "that is a GAN; here images are only compared pixel by pixel, by the reconstruction.",
        "c": "codes pass for draws of the prior once the discriminator can only guess.",
        "d": "both of these come from the encoder, and the prior would have no say at all.",
    },
    hints=[
        "Look at the shapes: how many inputs has the discriminator of part 3?",
        "Look at `rivals`: what is real to it, and what tries to pass for real?",
    ],
)


def _softplus(x):
    return np.logaddexp(0, x)


def _judge_loss(real, made):
    return np.logaddexp(0, -real).mean() + np.logaddexp(0, made).mean()


def _naive(real, made):
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    return -np.log(sigmoid(real)).mean() - np.log(1 - sigmoid(made)).mean()


judge_loss = Exercise(
    "judge_loss",
    "Write judge_loss(real, made): what the discriminator pays, from its scores (logits).",
    solution=_judge_loss,
    cases=[
        (np.array([0.0, 1.0]), np.array([-2.0, 0.5])),
        (np.array([3.0, -1.0, 0.2]), np.array([1.0, -4.0])),
        (np.array([-1000.0, 2.0]), np.array([900.0, 0.0])),
        lambda rng: (rng.normal(size=7), rng.normal(size=7)),
    ],
    wrong=[
        (
            _naive,
            "right for small scores, but the logarithm of a sigmoid that has rounded to 0 is "
            "infinite; −log σ(s) = log(1 + e⁻ˢ), and np.logaddexp(0, -s) computes that safely.",
        ),
        (
            lambda real, made: _softplus(real).mean() + _softplus(-made).mean(),
            "real and made have changed places: this discriminator learns to call codes real.",
        ),
        (
            lambda real, made: -_softplus(-real).mean() - _softplus(made).mean(),
            "the sign is turned: this is what the discriminator would like to be large, and we "
            "minimise.",
        ),
        (
            lambda real, made: _softplus(-real).mean(),
            "this is the half for real draws; the made ones must score 0 as well.",
        ),
        (
            lambda real, made: _softplus(made).mean(),
            "this is the half for made codes; the real draws must score 1 as well.",
        ),
        (
            lambda real, made: _softplus(-real).sum() + _softplus(made).sum(),
            "this is a sum over the batch; take the mean, or the loss grows with the batch.",
        ),
        (
            lambda real, made: (_softplus(-real).mean() + _softplus(made).mean()) / 2,
            "half of it: add the two means, as in part 1, where two equal sides cost log 4.",
        ),
    ],
    hints=[
        "−log D for the real ones, −log(1 − D) for the made ones, where D is the sigmoid.",
        "1 − σ(s) = σ(−s), and −log σ(s) = log(1 + e⁻ˢ).",
        "np.logaddexp(0, -s) is log(1 + e⁻ˢ), for any s.",
    ],
    correct="log 4 where it can only guess, and safe for any score.",
)


def _fool_loss(made):
    return np.logaddexp(0, -made).mean()


fool_loss = Exercise(
    "fool_loss",
    "Write fool_loss(made): the encoder's non-saturating loss, from the scores of its codes.",
    solution=_fool_loss,
    cases=[
        (np.array([0.0, 1.0]),),
        (np.array([-3.0, 0.5, 2.0]),),
        lambda rng: (rng.normal(size=6),),
    ],
    wrong=[
        (
            lambda made: -_softplus(made).mean(),
            "this is log(1 − D), the saturating loss: where the discriminator is sure, its "
            "gradient all but vanishes. Use −log D.",
        ),
        (
            lambda made: _softplus(made).mean(),
            "this is the discriminator's side, −log(1 − D): the encoder would help to expose "
            "itself.",
        ),
        (
            lambda made: -_softplus(-made).mean(),
            "the sign is turned: minimising this makes the codes look as false as they can.",
        ),
        (
            lambda made: _softplus(-made).sum(),
            "this is a sum over the batch; take the mean.",
        ),
        (
            lambda made: -made.mean(),
            "this is the score itself, without a bound; take −log of its sigmoid.",
        ),
    ],
    hints=[
        "The encoder wants D of its codes to be 1.",
        "−log σ(s) = log(1 + e⁻ˢ).",
    ],
    correct="a strong gradient where the codes are far from passing.",
)


def _exponents(samples, x, sigma):
    squared = ((x[:, None] - samples[None]) ** 2).sum(axis=2)
    return -squared / (2 * sigma**2)


def _log_mean(exponents, axis=1):
    top = exponents.max(axis=axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.exp(exponents - top).mean(axis=axis))


def _constant(x, sigma):
    return x.shape[1] * np.log(sigma * np.sqrt(2 * np.pi))


def _parzen(samples, x, sigma):
    squared = ((x[:, None] - samples[None]) ** 2).sum(axis=2)  # N×M
    exponents = -squared / (2 * sigma**2)
    top = exponents.max(axis=1, keepdims=True)  # the nearest sample becomes exp(0)
    log_mean = top[:, 0] + np.log(np.exp(exponents - top).mean(axis=1))  # N
    return log_mean - x.shape[1] * np.log(sigma * np.sqrt(2 * np.pi))


parzen = Exercise(
    "parzen",
    "Write parzen(samples, x, sigma): log p of images x (N, D) under windows on samples (M, D).",
    solution=_parzen,
    cases=[
        (np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.5, 0.0]]), 0.5),
        (np.array([[0.0], [3.0], [1.0]]), np.array([[40.0], [1.0]]), 0.2),
        lambda rng: (rng.normal(size=(5, 3)), rng.normal(size=(4, 3)), 0.7),
    ],
    wrong=[
        (
            lambda s, x, g: np.log(np.exp(_exponents(s, x, g)).mean(axis=1)) - _constant(x, g),
            "right near the samples, but far from all of them every exponential is 0; take the "
            "largest exponent out before exp, and add it back after log.",
        ),
        (
            lambda s, x, g: _exponents(s, x, g).mean(axis=1) - _constant(x, g),
            "this is the mean of the logarithms; take the logarithm of the mean.",
        ),
        (
            lambda s, x, g: _log_mean(_exponents(s, x, g)) + np.log(len(s)) - _constant(x, g),
            "this is the log of the sum; divide by the number of samples, or more samples are "
            "always better.",
        ),
        (
            lambda s, x, g: _log_mean(_exponents(s, x, g)),
            "the constant of the normal distribution is missing: −D log(σ √2π).",
        ),
        (
            lambda s, x, g: _log_mean(_exponents(s, x, g)) - np.log(g * np.sqrt(2 * np.pi)),
            "the constant counts once for each of the D pixels.",
        ),
        (
            lambda s, x, g: _log_mean(_exponents(s, x, np.sqrt(g))) - _constant(x, np.sqrt(g)),
            "sigma is taken for the variance; it is the standard deviation.",
        ),
        (
            lambda s, x, g: _exponents(s, x, g).max(axis=1) - _constant(x, g),
            "this keeps the nearest sample only; average over all of them.",
        ),
        (
            lambda s, x, g: _log_mean(_exponents(s, x, g), axis=0) - _constant(x, g),
            "you average over the images; average over the samples, one number for each image.",
        ),
    ],
    hints=[
        "p(x) is the mean over the samples of a normal density centred on each.",
        "log N = −‖x − s‖²/2σ² − D log(σ √2π).",
        "x[:, None] - samples[None] has shape (N, M, D).",
    ],
    correct="the logarithm of a mean of densities, as part 10 computes it.",
)

other_data = OwnDataExercise("other_data")
