"""The Keras callback gives the panel what each batch cost, not a running mean."""

import numpy as np
import pytest

from utils import CourseError, runtime
from utils.panel import keras_callback

runtime.load("keras")
import keras  # noqa: E402


def fit(report, epochs=2, n=50, **options):
    """Fit a model whose loss in batch b of each epoch is b + 1: the inputs are the losses."""

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.w = self.add_weight(shape=(), initializer="zeros")

        def call(self, x):
            return x + 0 * self.w

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return keras.ops.mean(y_pred)

    model = Model()
    model.compile(keras.optimizers.SGD(0.0))
    x = np.repeat(np.arange(1.0, n / 10 + 1), 10)[:, None].astype("float32")
    reporter = keras_callback(report, **options)
    model.fit(x, batch_size=10, epochs=epochs, shuffle=False, verbose=0, callbacks=[reporter])
    return model


def recorder(until=10**9):
    seen = []

    def report(step, logs, preview=None):
        seen.append((step, round(logs["loss"], 4)))
        return step < until

    return seen, report


def test_each_report_is_the_cost_of_its_own_batches():
    seen, report = recorder()
    fit(report)
    assert seen == [(step, float((step - 1) % 5 + 1)) for step in range(1, 11)]


def test_several_batches_are_averaged_across_an_epoch_s_end():
    seen, report = recorder()
    fit(report, every=4)  # 1 2 3 4 | 5 1 2 3 | 4 5
    assert seen == [(4, 2.5), (8, 2.75), (10, 4.5)]


def test_it_stops_after_the_steps_asked_for_or_when_told():
    seen, report = recorder()
    fit(report, steps=7, every=3)
    assert [step for step, _ in seen] == [3, 6, 7]
    seen, report = recorder(until=3)
    fit(report)
    assert [step for step, _ in seen] == [1, 2, 3]


@pytest.mark.parametrize("option", ["every", "steps"])
@pytest.mark.parametrize("number", [0, -1, 1.5, True])
def test_numbers_that_make_no_sense_are_refused(option, number):
    with pytest.raises(CourseError, match=f"{option} = "):
        keras_callback(lambda *_: True, **{option: number})
