"""Exercises of 02_vae: the price of a code, the draw, the bound, a count, and other data."""

import numpy as np

from utils.exercises import Exercise, NumberExercise, OwnDataExercise


def _normal(rng, *shape):
    return rng.normal(size=shape)


def _kl_divergence(mean, log_var):
    return 0.5 * (np.exp(log_var) + mean**2 - 1 - log_var).sum(axis=1)


kl_divergence = Exercise(
    "kl_divergence",
    "Write kl_divergence(mean, log_var): the KL from N(0, 1) in nats, (B, latents) to (B,).",
    solution=_kl_divergence,
    cases=[
        (np.array([[0.0, 2.0]]), np.array([[0.0, 0.0]])),
        (np.array([[1.0], [0.0]]), np.array([[0.5], [-1.0]])),
        lambda rng: (_normal(rng, 6, 5), _normal(rng, 6, 5)),
    ],
    wrong=[
        (
            lambda m, v: 0.5 * (np.exp(v) + m**2 - 1 - v).mean(axis=1),
            "this is the mean over the latents; the KL sums over them (each adds its own price).",
        ),
        (
            lambda m, v: 0.5 * (np.exp(v) + m**2 - 1 - v).sum(),
            "this is one number for the whole batch; sum over the latents only, axis 1.",
        ),
        (
            lambda m, v: -0.5 * (np.exp(v) + m**2 - 1 - v).sum(axis=1),
            "the sign is turned: a KL divergence is never negative.",
        ),
        (
            lambda m, v: (np.exp(v) + m**2 - 1 - v).sum(axis=1),
            "twice too large: the factor ½ is missing.",
        ),
        (
            lambda m, v: 0.5 * (np.exp(2 * v) + m**2 - 1 - 2 * v).sum(axis=1),
            "log_var is read as log σ; it is log σ², so σ² = exp(log_var).",
        ),
        (
            lambda m, v: 0.5 * (np.exp(2 * v) + m**2 - 1 - v).sum(axis=1),
            "one place reads log_var as log σ and the other as log σ²; it is log σ² in both.",
        ),
        (
            lambda m, v: 0.5 * (v**2 + m**2 - 1 - 2 * np.log(np.abs(v) + 1e-12)).sum(axis=1),
            "log_var is the logarithm of the variance, not σ itself: exponentiate it.",
        ),
    ],
    hints=[
        "The formula stands in part 1, under “A price in closed form”.",
        "σ² is np.exp(log_var), and log σ² is log_var itself.",
        "Sum over axis=1, the latents; keep one number for each image.",
    ],
    correct="zero where the code equals the prior, and a sum over the latents.",
)


def _reparameterise(mean, log_var, eps):
    return mean + np.exp(0.5 * log_var) * eps


reparameterise = Exercise(
    "reparameterise",
    "Write reparameterise(mean, log_var, eps): z distributed as N(mean, exp(log_var)).",
    solution=_reparameterise,
    cases=[
        (np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]]), np.array([[0.5, -1.0]])),
        lambda rng: (_normal(rng, 4, 3), _normal(rng, 4, 3), _normal(rng, 4, 3)),
    ],
    wrong=[
        (
            lambda m, v, e: m + np.exp(v) * e,
            "the noise is scaled by the variance; it needs the standard deviation, exp(½ log_var).",
        ),
        (
            lambda m, v, e: m + v * e,
            "log_var multiplies the noise as it is; turn it into a standard deviation first.",
        ),
        (
            lambda m, v, e: m + np.sqrt(np.exp(v)) * 0.1 * e,
            "the noise is scaled by 0.1: z no longer follows q, and the KL prices another code.",
        ),
        (
            lambda m, v, e: m + e,
            "the noise keeps a standard deviation of 1; scale it by exp(½ log_var).",
        ),
        (
            lambda m, v, e: m * e + np.exp(0.5 * v),
            "mean and noise have changed places: the mean shifts, the standard deviation scales.",
        ),
    ],
    hints=[
        "z = μ + σ ε. What is σ, when you know log σ²?",
        "σ = exp(½ log σ²).",
    ],
    correct="a mean plus scaled noise, so that gradients reach both μ and σ.",
)


def _iwae_bound(log_weights):
    top = log_weights.max(axis=0)  # the largest weight becomes exp(0)
    return top + np.log(np.exp(log_weights - top).mean(axis=0))


def _naive_bound(log_weights):
    return np.log(np.exp(log_weights).mean(axis=0))


iwae_bound = Exercise(
    "iwae_bound",
    "Write iwae_bound(log_weights): L_k in nats from log w, (k, B) to (B,), of any size.",
    solution=_iwae_bound,
    cases=[
        (np.log(np.array([[1.0, 2.0], [3.0, 2.0]])),),
        (np.array([[-1000.0, 800.0], [-1001.0, 801.0]]),),
        lambda rng: (_normal(rng, 7, 5) - 3,),
    ],
    wrong=[
        (
            _naive_bound,
            "right for small numbers, but exp(800) overflows and exp(-1000) is 0; subtract the "
            "largest log-weight first and add it back at the end.",
        ),
        (
            lambda w: w.mean(axis=0),
            "this is the mean of the logarithms, the ELBO; take the logarithm of the mean.",
        ),
        (
            lambda w: w.max(axis=0) + np.log(np.exp(w - w.max(axis=0)).sum(axis=0)),
            "this is the log of the sum; divide by k, or every k raises the bound by log k.",
        ),
        (
            lambda w: w.max(axis=1) + np.log(np.exp(w - w.max(axis=1)[:, None]).mean(axis=1)),
            "you average over the images; the k samples stand on axis 0.",
        ),
        (
            lambda w: w.max(axis=0),
            "this keeps the best sample only; average all k weights.",
        ),
        (
            lambda w: -(w.max(axis=0) + np.log(np.exp(w - w.max(axis=0)).mean(axis=0))),
            "the sign is turned: this is the negative bound.",
        ),
    ],
    hints=[
        "log of the mean of the weights; the weights are exp(log_weights).",
        "Adding a constant to all log-weights of an image adds the same constant to the bound.",
        "Take top = log_weights.max(axis=0) out before exp, and add it back after log.",
    ],
    correct="the logarithm of a mean, safe for weights of any size.",
)


def _parameter_count():
    encoder = (784 * 200 + 200) + (200 * 200 + 200)  # two hidden layers
    codes = 2 * (200 * 50 + 50)  # means and log-variances
    decoder = (50 * 200 + 200) + (200 * 200 + 200) + (200 * 784 + 784)
    return encoder + codes + decoder


parameter_count = NumberExercise(
    "parameter_count",
    "How many parameters has the network of part 3, with 50 latents?",
    solution=_parameter_count,
    wrong=[
        (423_600, "those are the weights; every unit has a bias as well."),
        (415_234, "the encoder has two heads: one for means, one for log-variances."),
        (217_300, "that is the encoder; the decoder follows."),
        (207_984, "that is the decoder; the encoder comes first."),
        (207_250, "that is the encoder with one head; it has two, and a decoder follows."),
    ],
    hints=[
        "A dense layer from n to m units has n·m weights and m biases.",
        "Encoder: 784→200, 200→200, then 200→50 twice. Decoder: 50→200, 200→200, 200→784.",
    ],
    correct="the number that part 6 prints for all three frameworks.",
)

other_data = OwnDataExercise("other_data")
