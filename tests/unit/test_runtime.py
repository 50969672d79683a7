"""The runtime: names, devices, seeds and silence."""

import math
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from utils import CourseError, granted, runtime


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


def test_pytorch_makes_its_tensors_on_the_sessions_device(monkeypatch):
    """Stand-ins remember what they are told: there may be no GPU here."""
    told = []
    torch = SimpleNamespace(
        set_default_device=lambda device: told.append(device),
        backends=SimpleNamespace(cudnn=SimpleNamespace(allow_tf32=True)),
    )
    experimental = SimpleNamespace(enable_tensor_float_32_execution=told.append)
    tensorflow = SimpleNamespace(config=SimpleNamespace(experimental=experimental))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    monkeypatch.setattr(runtime, "_moved", False)
    runtime._move("cpu")
    assert told == []
    runtime._move("cuda")
    assert told == ["cuda", False] and torch.backends.cudnn.allow_tf32 is False
    runtime._move("cpu")
    runtime._move("cpu")
    assert told == ["cuda", False, "cpu"]


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


@pytest.fixture
def triton(tmp_path):
    """A stand-in for Triton that says when it is loaded; the real one comes with builds for GPUs.

    The fixture is a function that runs code beside it and returns what the process did.
    """
    (tmp_path / "triton.py").write_text(
        "import sys; print('Triton,', 'after' if 'tensorflow' in sys.modules else 'first')"
    )
    (tmp_path / "triton-3.7.1.dist-info").mkdir()
    about = "Metadata-Version: 2.1\nName: triton\nVersion: 3.7.1\n"
    (tmp_path / "triton-3.7.1.dist-info/METADATA").write_text(about)

    def run(code):
        start = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"
        return subprocess.run([sys.executable, "-c", start], capture_output=True, text=True)

    return run


def test_triton_is_loaded_before_tensorflow(triton):
    """The other way round PyTorch's first optimiser ends the process (triton 3.7 and later)."""
    done = triton("from utils import runtime; runtime.load('tensorflow'); runtime.load('torch')")
    assert (done.stdout, done.stderr) == ("Triton, first\n", "")


def test_where_triton_comes_too_late_pytorch_is_refused(triton):
    done = triton("import tensorflow; from utils import runtime; runtime.load('torch')")
    assert "restart the kernel and run the set-up cell first" in done.stderr


def test_an_iterator_tunes_itself_only_where_it_is_asked_to():
    """The thread that tunes can outlast its iterator by a minute, in which nothing else runs."""
    runtime.load("tensorflow")
    import tensorflow as tf

    asked = tf.data.Options()
    asked.autotune.enabled = True
    numbers = tf.data.Dataset.range(3).prefetch(1)
    for dataset, tuned in ((numbers, False), (numbers.with_options(asked), True)):
        stream = iter(dataset)
        assert stream._dataset.options().autotune.enabled is tuned
        assert [int(number) for number in stream] == [0, 1, 2]


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


@pytest.mark.parametrize(("quota", "count"), [(0.5, 1), (1.5, 1), (math.inf, None)])
def test_threads_stay_within_the_containers_share(monkeypatch, quota, count):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(granted, "cores", lambda: quota)
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert runtime.threads() == (count or seen)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert runtime.threads() == 3  # whoever asks is heard


def test_steps_are_as_many_as_wanted_unless_few_are_asked_for(monkeypatch):
    monkeypatch.delenv("COURSE_STEPS", raising=False)
    assert runtime.steps(800) == 800
    monkeypatch.setenv("COURSE_STEPS", "20")
    assert (runtime.steps(800), runtime.steps(5)) == (20, 5)
    for wrong in ("0", "-3", "few", "2.5", "²"):
        monkeypatch.setenv("COURSE_STEPS", wrong)
        with pytest.raises(CourseError, match="COURSE_STEPS=.* is not a whole number above 0"):
            runtime.steps(800)


def test_the_machine_is_described_in_words():
    text = runtime.describe()
    assert "PyTorch: version" in text and "GPU" in text
    assert runtime.peak_memory_mb() > 10


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a child starts at its own size")
def test_a_childs_peak_is_not_its_parents():
    child = "from utils import runtime; print(runtime.peak_memory_mb())"
    parent = f"""
import subprocess, sys
held = bytearray(600_000_000)
held[::4096] = b"1" * len(held[::4096])
subprocess.run([sys.executable, "-c", {child!r}], check=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", parent], capture_output=True, text=True, check=True
    )
    assert 10 < float(done.stdout) < 400


def test_a_mistake_shows_as_one_line_in_a_notebook():
    assert CourseError("No.")._render_traceback_() == ["CourseError: No."]
