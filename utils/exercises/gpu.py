"""Exercises of 17_gpu: intensity, the roofline, loss scaling, break-even, Amdahl's law."""

import math

import numpy as np

from utils.exercises import Exercise, NumberExercise


def _intensity(n_in, n_out, batch):
    operations = 2 * batch * n_in * n_out  # a multiplication and an addition
    numbers = batch * n_in + n_in * n_out + batch * n_out
    return operations / (4 * numbers)


def _intensity_of(n_in, n_out, batch, each=2, size=4, weights=1, outputs=1):
    numbers = batch * n_in + weights * n_in * n_out + outputs * batch * n_out
    return each * batch * n_in * n_out / (size * numbers)


intensity = Exercise(
    "intensity",
    "Write intensity(n_in, n_out, batch): operations a byte of a dense layer in float32.",
    solution=_intensity,
    cases=[
        (2, 3, 1),
        (256, 192, 64),
        lambda rng: tuple(int(n) for n in rng.integers(10, 500, size=3)),
    ],
    wrong=[
        (
            lambda n_in, n_out, batch: _intensity_of(n_in, n_out, batch, each=1),
            "a multiplication and an addition are two operations.",
        ),
        (
            lambda n_in, n_out, batch: _intensity_of(n_in, n_out, batch, size=1),
            "these are operations a number; a float32 has four bytes.",
        ),
        (
            lambda n_in, n_out, batch: _intensity_of(n_in, n_out, batch, weights=0),
            "the weights have to be read as well.",
        ),
        (
            lambda n_in, n_out, batch: _intensity_of(n_in, n_out, batch, outputs=0),
            "the outputs have to be written as well.",
        ),
        (
            lambda n_in, n_out, batch: _intensity_of(n_in, n_out, batch, weights=batch),
            "the weights are read once for the whole batch, not once for each image: that is why "
            "batches help.",
        ),
        (
            lambda n_in, n_out, batch: 1 / _intensity_of(n_in, n_out, batch),
            "these are bytes an operation.",
        ),
    ],
    hints=[
        "Each of batch × n_out outputs is a sum of n_in products.",
        "Moved are batch × n_in + n_in × n_out + batch × n_out numbers of 4 bytes.",
    ],
    correct="and with the batch it grows, until the weights no longer matter.",
)


def _least_time(flops, moved, peak, bandwidth):
    return max(flops / peak, moved / bandwidth)


least_time = Exercise(
    "least_time",
    "Write least_time(flops, moved, peak, bandwidth): the least seconds of an operation.",
    solution=_least_time,
    cases=[
        (8.0, 4.0, 2.0, 2.0),
        (8.0, 40.0, 2.0, 2.0),
        lambda rng: tuple(rng.uniform(1, 10, size=4)),
    ],
    wrong=[
        (
            lambda flops, moved, peak, bandwidth: flops / peak + moved / bandwidth,
            "arithmetic and memory work at the same time: the longer one counts, not the sum.",
        ),
        (
            lambda flops, moved, peak, bandwidth: min(flops / peak, moved / bandwidth),
            "the shorter of the two is not enough: both have to be done.",
        ),
        (
            lambda flops, moved, peak, bandwidth: flops / peak,
            "this is the arithmetic alone.",
        ),
        (
            lambda flops, moved, peak, bandwidth: moved / bandwidth,
            "this is the memory alone.",
        ),
        (
            lambda flops, moved, peak, bandwidth: min(peak, flops / moved * bandwidth),
            "this is the roof, in operations a second; asked is the time.",
        ),
    ],
    hints=["How long does the arithmetic take alone, how long the memory?", "max(…, …)"],
    correct="the roofline, read as a time.",
)


def _scales(finite, start, patience):
    scale, good, found = start, 0, []
    for fine in finite:
        if fine:
            good += 1
            if good == patience:
                scale, good = 2 * scale, 0
        else:
            scale, good = scale / 2, 0
        found.append(scale)
    return np.array(found)


def _scales_of(finite, start, patience, forgive=False, greedy=False, grow=2, early=False):
    scale, good, found = start, 0, []
    for fine in finite:
        if early:
            found.append(scale)
        if fine:
            good += 1
            if good >= patience:
                scale, good = grow * scale, good if greedy else 0
        else:
            scale, good = scale / 2, good if forgive else 0
        if not early:
            found.append(scale)
    return np.array(found)


scales = Exercise(
    "scales",
    "Write scales(finite, start, patience): the loss scale after each step.",
    solution=_scales,
    cases=[
        (np.array([True, True, False, True]), 8.0, 2),
        (np.array([True, False, True, True, True, True, True, False]), 16.0, 3),
        lambda rng: (rng.random(40) < 0.85, 1024.0, 3),
    ],
    wrong=[
        (
            lambda finite, start, patience: _scales_of(finite, start, patience, forgive=True),
            "an overflow begins the count of good steps anew: they must come in a row.",
        ),
        (
            lambda finite, start, patience: _scales_of(finite, start, patience, greedy=True),
            "after doubling the count begins anew; yours doubles at every step from there on.",
        ),
        (
            lambda finite, start, patience: _scales_of(finite, start, patience, grow=1),
            "the scale never grows again.",
        ),
        (
            lambda finite, start, patience: _scales_of(finite, start, 1),
            "this doubles after each good step; wait for `patience` of them.",
        ),
        (
            lambda finite, start, patience: _scales_of(finite, start, patience, early=True),
            "these are the scales before each step.",
        ),
        (
            lambda finite, start, patience: _scales_of(~np.asarray(finite), start, patience),
            "the other way round: it is halved where gradients were not finite.",
        ),
    ],
    hints=[
        "Keep two things: the scale, and how many good steps there were in a row.",
        "Set the count to zero after an overflow, and after doubling.",
    ],
    correct="what GradScaler does, with a patience of 2,000.",
)


def _break_even(compiling, before, after):
    if after >= before:
        return math.inf
    return math.ceil(compiling / (before - after))


break_even = Exercise(
    "break_even",
    "Write break_even(compiling, before, after): after how many steps compiling has paid.",
    solution=_break_even,
    cases=[
        (10.0, 0.5, 0.25),
        (10.5, 2.0, 1.0),
        (4.0, 1.0, 2.0),
        (4.0, 1.0, 1.0),
        lambda rng: (float(rng.integers(5, 50)) + 0.3, 1.0, 0.75),
    ],
    wrong=[
        (
            lambda compiling, before, after: (
                compiling / (before - after) if after < before else math.inf
            ),
            "steps are whole: round up.",
        ),
        (
            lambda compiling, before, after: (
                math.floor(compiling / (before - after)) if after < before else math.inf
            ),
            "rounded down, one step too few: compiling is not paid yet.",
        ),
        (
            lambda compiling, before, after: (
                math.ceil(compiling / (before - after)) if after != before else math.inf
            ),
            "where it got slower it never pays: infinity, not a negative number.",
        ),
        (
            lambda compiling, before, after: math.ceil(compiling / before),
            "this is how many steps fit into the compiling; what counts is what each step saves.",
        ),
    ],
    hints=["What does one step save?", "math.ceil, and math.inf where nothing is saved."],
    correct="and a run shorter than this is better left uncompiled.",
)

amdahl = NumberExercise(
    "amdahl",
    "Loading takes 60 % of a step and becomes ten times as fast. And the step?",
    solution=lambda: 1 / (0.4 + 0.6 / 10),
    wrong=[
        (10.0, "the loading is; the other 40 % take as long as before."),
        (2.5, "this would be if loading took no time at all."),
        (6.4, "speed-ups are not averaged over shares; add up the times that remain."),
        (0.46, "this is the time that remains; asked is how many times as fast."),
        (
            1.6,
            "you took 60 % off 100 % and added; compute the time that remains, and divide by it.",
        ),
    ],
    hints=[
        "Let a step take 1. How long does it take afterwards?",
        "0.4 remain as they were, 0.6 become 0.06.",
    ],
    correct="1 / 0.46 = 2.17; and never more than 2.5, however fast the drive.",
)
