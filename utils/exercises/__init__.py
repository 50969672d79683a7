"""Exercises that check themselves: correct, not yet (and why), or not attempted.

A learner writes a function in a cell, then calls ``exercises.mean_pixel.check(mean_pixel)``,
``.hint()`` (each call gives the next hint) and, at last, ``.solution()``. A check prints one line
that begins with ``Correct:``, ``Not yet:`` or ``Not attempted:`` and never raises.

How to write an exercise
------------------------
Add it to ``utils/exercises/<chapter>.py`` (no leading underscore); the tests find it there. The
module imports no framework at its top: speak NumPy, or import inside the functions. A complete
one, for a learner who is to write ``mean_pixel(images)``:

>>> import numpy as np
>>> from utils.exercises import Exercise
>>> def _mean_pixel(images):
...     return images.mean(axis=(1, 2))
>>> mean_pixel = Exercise(
...     "mean_pixel",
...     "Write mean_pixel(images): the mean of each picture, from (N, H, W) to (N,).",
...     solution=_mean_pixel,
...     cases=[
...         (np.array([[[0.0, 1.0]], [[2.0, 3.0]]]),),
...         lambda rng: (rng.normal(size=(5, 4, 3)),),
...     ],
...     wrong=[
...         (lambda images: images.mean(), "this is one mean over all pictures; keep one each."),
...         (lambda images: images.sum((1, 2)), "this is the sum; divide by the pixel count."),
...     ],
...     hints=["Which axes hold the pixels of one picture?", "mean takes axis=(1, 2)."],
...     correct="each picture keeps its own mean.",
... )
>>> mean_pixel.check(lambda images: images.mean(axis=(1, 2)).tolist())
Correct: each picture keeps its own mean.
>>> mean_pixel.check(lambda images: images.mean())
Not yet: this is one mean over all pictures; keep one each.
>>> mean_pixel.check(...)
Not attempted: put your own work in the place of the dots, then run the cell again.
>>> mean_pixel.hint()
Hint 1 of 2: Which axes hold the pixels of one picture?

* ``name`` is the name of the variable that holds the exercise, and of the learner's function.
* ``solution`` is a real function: it is the reference of the check, and its source is what
  ``solution()`` shows (a leading underscore is taken off its name). Where the solution should be
  read in a framework, give NumPy as ``reference`` and the framework as ``solution``.
* ``cases`` are tuples of positional arguments, or functions of a seeded NumPy generator that
  return one. Give small ones first: small inputs are quoted in messages. Choose them so that
  every wrong answer differs from the right one, and from the other wrong ones, in some case.
* ``wrong`` is a list of (wrong implementation, what is wrong with it): the classic mistakes.
  The first whose results equal the learner's on all cases speaks.
* NumPy, PyTorch and TensorFlow answers pass alike: results are compared as NumPy arrays within
  ``tolerance``, axes of length 1 do not count, and a function written in a framework is called
  with that framework's float32 tensors.

`NumberExercise` asks for a number, `ChoiceExercise` for one of several statements,
`OwnDataExercise` for other pictures, `predict` for a prediction before an experiment;
``check_all(module)`` is what the tests call.
"""

from utils.exercises._engine import (
    CORRECT,
    INCORRECT,
    NOT_ATTEMPTED,
    ChoiceExercise,
    Exercise,
    NumberExercise,
    Verdict,
)
from utils.exercises._own_data import OwnDataExercise
from utils.exercises._placement import placement
from utils.exercises._predictions import predict, predictions, reveal
from utils.exercises._sweep import check_all, exercises_of, modules

__all__ = [
    "CORRECT",
    "INCORRECT",
    "NOT_ATTEMPTED",
    "ChoiceExercise",
    "Exercise",
    "NumberExercise",
    "OwnDataExercise",
    "Verdict",
    "check_all",
    "exercises_of",
    "modules",
    "placement",
    "predict",
    "predictions",
    "reveal",
]
