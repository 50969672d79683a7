"""An exercise takes answers written in any framework, and is not fooled by them."""

import numpy as np
import pytest

from utils import runtime
from utils.exercises import CORRECT, INCORRECT, NOT_ATTEMPTED, Exercise, exercises_of

pytestmark = pytest.mark.parity

softmax = exercises_of("start")["softmax"]
parameters = exercises_of("start")["parameters"]


@pytest.fixture(scope="module", autouse=True)
def frameworks():
    for name in runtime.FRAMEWORKS:
        pytest.importorskip(name)
    runtime.load(*runtime.FRAMEWORKS)


def _torch(x):
    import torch

    return torch.softmax(x, dim=1)


def _torch_method(x):
    return x.softmax(dim=1)  # nothing here says PyTorch, and NumPy arrays have no softmax


def _torch_with_gradients(x):
    import torch

    return torch.softmax(x.requires_grad_(), dim=1)


def _torch_bfloat16(x):
    import torch

    return torch.softmax(x, dim=1).to(torch.bfloat16)


def _torch_rows(x):
    import torch

    return [torch.softmax(row, dim=0) for row in x]


def _tensorflow(x):
    import tensorflow as tf

    return tf.nn.softmax(x)


def _tensorflow_float16(x):
    import tensorflow as tf

    return tf.cast(tf.nn.softmax(x), tf.float16)


def _tensorflow_variable(x):
    import tensorflow as tf

    same = tf.matmul(x, tf.eye(x.shape[1]))  # an error if x were NumPy's float64
    return tf.Variable(tf.nn.softmax(same))


def _keras(x):
    import keras

    return keras.ops.softmax(x, axis=1)


RIGHT = [_torch, _torch_method, _torch_with_gradients, _torch_bfloat16, _torch_rows]
RIGHT += [_tensorflow, _tensorflow_float16, _tensorflow_variable, _keras]


@pytest.mark.parametrize("answer", RIGHT)
def test_an_answer_in_any_framework_is_correct(answer):
    assert str(softmax.judge(answer)).startswith("Correct:")


def test_objects_and_compiled_functions_are_answers():
    import keras
    import tensorflow as tf
    import torch

    answers = (torch.nn.Softmax(dim=1), keras.layers.Softmax(), tf.function(_tensorflow))
    assert [softmax.judge(answer).state for answer in answers] == [CORRECT] * 3


def _torch_columns(x):
    import torch

    return torch.softmax(x, dim=0)


def _tensorflow_naive(x):
    import tensorflow as tf

    return tf.exp(x) / tf.reduce_sum(tf.exp(x), axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("answer", "said"), [(_torch_columns, "the columns sum to 1"), (_tensorflow_naive, "is NaN")]
)
def test_a_classic_mistake_is_known_in_any_framework(answer, said):
    verdict = softmax.judge(answer)
    assert verdict.state == INCORRECT and said in verdict.message


def _torch_typo(x):
    import torch

    return torch.exp(x).summ(dim=1)


def test_an_error_is_told_in_the_language_of_the_answer():
    """NumPy arrays are handed over last here: what NumPy says would only mislead."""
    said = softmax.judge(_torch_typo).message
    assert "(`return torch.exp(x).summ(dim=1)`): it raises AttributeError" in said
    assert "'Tensor' object has no attribute 'summ'" in said


def _torch_stub(x):
    import torch

    weights = ...
    return torch.exp(x) * weights


def test_dots_inside_a_framework_are_a_stub():
    assert softmax.judge(_torch_stub).state == NOT_ATTEMPTED


def test_a_number_may_be_a_tensor():
    import keras
    import tensorflow as tf
    import torch

    numbers = (torch.tensor(7850), tf.constant([7850]), keras.ops.array(7850.0))
    assert [parameters.judge(number).state for number in numbers] == [CORRECT] * 3


def test_an_answer_gets_tensors_of_its_own_framework_and_kind():
    seen = []

    def in_numpy(x):
        seen.append(x)
        return np.exp(x)

    def in_torch(x):
        import torch

        seen.append(x)
        return torch.exp(x)

    def in_tensorflow(x):
        import tensorflow as tf

        seen.append(x)
        return tf.exp(x)

    power = Exercise("power", "?", solution=lambda x: np.exp(x), cases=[(np.ones(2),)])
    for answer in (in_numpy, in_torch, in_tensorflow):
        assert power.judge(answer).state == CORRECT
    kinds = [(type(x).__module__.split(".")[0], str(x.dtype).split(".")[-1]) for x in seen]
    assert kinds[:2] == [("numpy", "float64"), ("torch", "float32")]
    assert kinds[2][0] == "tensorflow" and "float32" in kinds[2][1]


def test_whole_numbers_stay_whole():
    """Labels must not become floats on their way into a framework."""

    def picks(x, index):
        import torch

        return torch.take_along_dim(x, index[:, None], dim=1)[:, 0]

    chosen = Exercise(
        "chosen",
        "?",
        solution=lambda x, index: x[np.arange(len(x)), index],
        cases=[(np.eye(3), np.array([0, 2, 2]))],
    )
    assert str(chosen.judge(picks)).startswith("Correct:")
