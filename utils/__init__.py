"""The small shared package of *Deep learning, three ways*: everything that is not a model.

The models live in the notebooks. Here stand data, widgets, metrics and the tools that compare
frameworks. Importing this package imports no framework, and its borders speak NumPy. Only the
modules called ``tf_*`` need TensorFlow: they hold the layers that its sections are built from.
"""

import os

# The official builds of ONNX Runtime for all but Windows report from 1.29 on to their maker which
# machine loads which models, from the moment they are imported; with this they do not.
# Source: microsoft/onnxruntime, pull requests 27379 and 29843.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

COURSE_ID = "deep-learning-three-ways"


class CourseError(Exception):
    """A mistake that the reader can mend: its message names the mistake and the remedy."""

    def _render_traceback_(self) -> list[str]:
        # Jupyter calls this instead of printing a stack of frames that are not the reader's.
        return [f"{type(self).__name__}: {self}"]
