"""Exercises of 21_tflite: scale and zero point, multiplier and shift, calibration, sizes, kinds."""

import math

import numpy as np

from utils.exercises import ChoiceExercise, Exercise


def _affine(low, high):
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    return scale, round(-128 - low / scale)


def _affine_without_zero(low, high):
    scale = (high - low) / 255
    return scale, round(-128 - low / scale)


def _symmetric(low, high):
    return max(abs(low), abs(high)) / 127, 0


affine = Exercise(
    "affine",
    "Write affine(low, high): scale and zero point of int8 for numbers from low to high.",
    solution=_affine,
    cases=[(-1.0, 4.1), (0.0, 2.55), (-33 / 79, 222 / 79), (1.0, 6.1), (-5.1, -2.0)],
    wrong=[
        (
            _affine_without_zero,
            "where the range leaves 0 out, it has to be widened to 0: padding and ReLU need it.",
        ),
        (_symmetric, "that is for weights; activations use all 256 levels, with a zero point."),
        (
            lambda low, high: ((max(high, 0) - min(low, 0)) / 256, _affine(low, high)[1]),
            "256 levels have 255 steps between them.",
        ),
        (
            lambda low, high: (_affine(low, high)[0], _affine(low, high)[1] + 128),
            "that zero point is for 0…255; here the lowest level is −128.",
        ),
        (
            lambda low, high: (_affine(low, high)[0], 0),
            "the zero point is the level that stands for 0.0; low must fall on −128.",
        ),
        (lambda low, high: _affine(low, high)[::-1], "the other way round: scale, zero point."),
    ],
    hints=[
        "Widen the range until it has 0 in it. How wide is a step, if 256 levels cover it?",
        "low = scale · (−128 − zero): solve for zero, and round.",
    ],
    correct="with 33 and 79 it gives 1/79 and −95: the input of this chapter's file.",
)


def _fixed(real):
    share, n = math.frexp(real)  # real = share · 2ⁿ, ½ ≤ share < 1
    return round(share * 2**31), n


def _fixed_by_log(real):
    n = math.floor(math.log2(real))
    return round(real / 2**n * 2**31), n


fixed = Exercise(
    "fixed",
    "Write fixed(real): M0 as an integer of 31 bits, and n, with real = M0 · 2^(n−31).",
    solution=_fixed,
    cases=[(0.75,), (0.003,), (0.5,), (1.7,), (0.24,)],
    tolerance=1e-6,
    wrong=[
        (_fixed_by_log, "M0 is between 1 and 2 so; it should be between ½ and 1: n is one more."),
        (lambda real: (_fixed(real)[0], -_fixed(real)[1]), "real = M0 · 2ⁿ: mind n's sign."),
        (
            lambda real: (round(math.frexp(real)[0] * 2**15), math.frexp(real)[1]),
            "those are 15 bits; the kernels have 31.",
        ),
        (lambda real: math.frexp(real), "M0 as an integer: times 2³¹, and rounded."),
        (
            lambda real: (round(real * 2**31), 0),
            "small numbers lose their digits: scale them first.",
        ),
    ],
    hints=[
        "math.frexp gives a number between ½ and 1, and the power of two.",
        "round(share · 2³¹).",
    ],
    correct="one integer product and one shift: no floating-point number is needed at run time.",
)


def _used(scale, zero, low, high):
    ends = [min(127, max(-128, round(real / scale) + zero)) for real in (low, high)]
    return (ends[1] - ends[0] + 1) / 256


def _unclipped(scale, zero, low, high):
    return (round(high / scale) - round(low / scale) + 1) / 256


used = Exercise(
    "used",
    "Write used(scale, zero, low, high): the share of the 256 levels between low and high.",
    solution=_used,
    cases=[
        (1 / 79, -95, -33 / 79, 222 / 79),
        (1.0, -128, -33 / 79, 222 / 79),
        (1 / 255, -128, 0.0, 255.0),
        (0.1, 0, -6.0, 6.0),
        (0.02, 10, -9.0, 1.0),
    ],
    wrong=[
        (_unclipped, "beyond −128 and 127 there are no levels: what lies outside is cut."),
        (
            lambda scale, zero, low, high: _used(scale, zero, low, high) - 1 / 256,
            "count the levels, both ends included: from 3 to 5 there are three.",
        ),
        (
            lambda scale, zero, low, high: min(1, (high - low) / scale / 256),
            "levels are whole numbers, and the zero point says where the range ends.",
        ),
        (
            lambda scale, zero, low, high: _used(scale, 0, low, high),
            "the zero point moves the levels; without it other ones are cut.",
        ),
    ],
    hints=[
        "Quantise both ends: round(real / scale) + zero, cut to −128…127.",
        "From there to there, both included, of 256.",
    ],
    correct="1.6 % betray a calibration with raw bytes: four of 256 levels.",
)


def _stored(shape):
    return math.prod(shape) + 12 * shape[0]


stored = Exercise(
    "stored",
    "Write stored(shape): bytes of an int8 kernel (C, …), its scales and its zero points.",
    solution=_stored,
    cases=[(np.array([8, 3, 3, 1]),), (np.array([32, 3, 3, 32]),), (np.array([10, 32]),)],
    wrong=[
        (lambda shape: math.prod(shape), "the scales and zero points are missing."),
        (lambda shape: math.prod(shape) + 12, "each output channel has a scale of its own."),
        (
            lambda shape: math.prod(shape) + 12 * shape[-1],
            "the output channels come first in LiteRT's kernels.",
        ),
        (lambda shape: 4 * math.prod(shape) + 12 * shape[0], "a weight has one byte, not four."),
        (lambda shape: math.prod(shape) + 8 * shape[0], "a scale has 4 bytes, a zero point 8."),
        (lambda shape: math.prod(shape) + 4 * shape[0], "the zero points are stored as well."),
    ],
    hints=["One byte a weight.", "4 + 8 bytes for each of the C output channels."],
    correct="for the first kernel the scales take more room than the weights.",
)

kind = ChoiceExercise(
    "kind",
    "Which kind of file for a chip without floating-point numbers and 128 kB of flash?",
    options={"A": "float16", "B": "dynamic", "C": "int8"},
    answer="C",
    why={
        "A": "half of 280 kB is 140: too large, and its arithmetic is float32.",
        "B": "it would fit, but what is between its integer products is float32.",
        "C": "the only one that fits and needs no floating-point number.",
    },
    hints=["Which kinds fit into 128 kB?", "Which one computes with integers only?"],
)
