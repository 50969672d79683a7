"""The data that recipes train and measure on."""

from utils import CourseError, data


def real_mnist() -> data.Dataset:
    """MNIST itself; results on a substitute would not be comparable with the papers'.

    Raises
    ------
    CourseError
        If it cannot be had.
    """
    digits = data.mnist()
    if digits.source == "embedded":
        raise CourseError(
            "The full profile needs the real MNIST: connect to a network once, or set "
            "COURSE_DATA to a folder that holds mnist/."
        )
    return digits


def kind(digits: data.Dataset) -> str:
    """Whether these are MNIST's own digits or the ones that stand in for them."""
    return "embedded" if digits.source == "embedded" else "mnist"
