"""The exercise of every part: put pictures of your own in the place of the course's data."""

from typing import Any

import numpy as np

from utils.data import Dataset
from utils.exercises import _answers, _calls
from utils.exercises._engine import CORRECT, INCORRECT, Exercise, Verdict

SOURCES = ("images", "idx")


def _from_a_folder():
    from utils import data

    return data.from_images("my_pictures")  # one folder of images for each class


def _blank_pictures(source: str, size: int) -> Dataset:
    pictures, labels = np.zeros((2, size, size), np.uint8), np.arange(2)
    return Dataset("a stand-in", pictures, labels, pictures, labels, source, "none needed")


class OwnDataExercise(Exercise):
    """A `Dataset` to load: from a folder of images or an IDX file, at the size the model takes.

    Parameters
    ----------
    name
        The variable that holds this exercise.
    size
        Height and width that the chapter's model takes.
    """

    def __init__(self, name: str, size: int = 28) -> None:
        self.size = size
        self.not_own = "these are the course's own digits; load pictures that it does not bring."
        self.other_size = f"the model takes {size}×{size} pixels: pass size={size} when you load."
        super().__init__(
            name,
            "Load a folder of images or an IDX file of your own in the place of MNIST.",
            solution=_from_a_folder,
            wrong=[
                (_blank_pictures("embedded", size), self.not_own),
                (_blank_pictures("images", size + 1), self.other_size),
            ],
            hints=[
                "data.from_images(folder) takes a folder with one subfolder of images per class.",
                "data.from_idx(images, labels) takes files such as Fashion-MNIST's.",
            ],
        )

    def right_answers(self) -> dict[str, Any]:
        """Answers that must pass, for the tests."""
        return {source: _blank_pictures(source, self.size) for source in SOURCES}

    def _judge(self, answer: Any) -> Verdict:
        if callable(answer):
            answer = _calls.call_all(answer, [()], [])[0]
        if _answers.is_blank(answer):
            raise _calls.NotAttemptedError(_calls.DOTS)
        if not isinstance(answer, Dataset):
            kind = type(answer).__name__
            said = f"hand over what data.from_images or data.from_idx returns, not a {kind}."
            return Verdict(INCORRECT, said)
        if answer.source not in SOURCES:
            return Verdict(INCORRECT, self.not_own)
        if answer.x_train.shape[1:] != (self.size, self.size):
            return Verdict(INCORRECT, self.other_size)
        return Verdict(CORRECT, answer.describe())
