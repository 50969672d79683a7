"""The runtime: names, devices, seeds and silence."""

import os
import subprocess
import sys

import numpy as np
import pytest

from utils import CourseError, runtime


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"profile": "fast"}, "profile 'fast' is unknown: choose one of quick, full"),
        ({"frameworks": ["jax"]}, "framework 'jax' is unknown"),
        ({"frameworks": []}, "FRAMEWORKS is empty"),
        ({"device": "tpu"}, "device 'tpu' is unknown"),
        ({"keras_backend": "jax"}, "Keras backend 'jax' is unknown"),
        ({"seed": -1}, "seed -1 must be a whole number"),
        ({"seed": 0.5}, "seed 0.5 must be a whole number"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_remedy(change, said):
    with pytest.raises(CourseError, match=said):
        runtime.begin(**{"lazy": True, **change})


def test_a_gpu_that_is_not_there_is_refused_and_not_replaced(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(runtime, "_sees_gpu", lambda framework: False)
    with pytest.raises(CourseError, match='PyTorch sees no GPU here: set DEVICE = "auto"'):
        runtime.begin(frameworks=["torch"], device="gpu")
    assert runtime.begin(frameworks=["torch"], device="auto").device == "cpu"


def test_a_gpu_is_taken_when_every_framework_sees_it(monkeypatch):
    monkeypatch.setattr(runtime, "_sees_gpu", lambda framework: True)
    assert runtime._settle_device("auto", ("torch", "keras")) == "gpu"
    monkeypatch.setattr(runtime, "_sees_gpu", lambda framework: framework == "torch")
    assert runtime._settle_device("auto", ("torch", "keras")) == "cpu"


def test_a_second_keras_backend_in_one_kernel_is_refused():
    code = (
        "from utils import runtime; runtime.begin(frameworks=['keras'], keras_backend='torch')\n"
        "runtime.begin(frameworks=['keras'], keras_backend='tensorflow')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "restart the kernel" in done.stderr


def test_loading_is_quiet_and_the_order_is_safe():
    code = (
        "from utils import runtime; runtime.load('keras', 'torch', 'tensorflow'); print('loaded')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "loaded\n"
    assert done.stderr == ""


def test_lazy_loads_nothing():
    code = (
        "import sys; from utils import runtime; runtime.begin(lazy=True)\n"
        "assert not {'torch', 'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_seed_repeats_every_framework_s_draws():
    runtime.load(*runtime.FRAMEWORKS)
    import keras
    import tensorflow as tf
    import torch

    def draws():
        runtime.seed_everything(7)
        return [
            np.random.rand(),
            torch.rand(1).item(),
            float(tf.random.uniform(())),
            float(keras.random.uniform(())),
        ]

    assert draws() == draws()


def test_keras_on_torch_is_seeded_without_tensorflow():
    code = (
        "import sys; from utils import runtime\n"
        "runtime.begin(frameworks=['keras'], keras_backend='torch')\n"
        "import keras\n"
        "def draw():\n"
        "    runtime.seed_everything(3)\n"
        "    return keras.layers.Dense(2)(keras.ops.ones((1, 3))).detach().numpy().tolist()\n"
        "assert draw() == draw()\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_threads_follow_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert runtime.threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert 1 <= runtime.threads() <= (os.cpu_count() or 1)


def test_the_machine_is_described_in_words():
    text = runtime.describe()
    assert "PyTorch: version" in text and "GPU" in text
    assert runtime.peak_memory_mb() > 10


def test_a_mistake_shows_as_one_line_in_a_notebook():
    assert CourseError("No.")._render_traceback_() == ["CourseError: No."]
