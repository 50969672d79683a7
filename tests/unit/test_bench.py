"""What the benchmark computes before it times anything."""

import time

import pytest

from utils import bench


def test_a_step_s_operations_are_counted_once_each():
    weights = 784 * 200 + 200 * 200 + 2 * 200 * 50 + 50 * 200 + 200 * 200 + 200 * 784
    assert weights == 423_600
    # forwards and two gradients for each weight, less the gradient of the images
    assert bench.step_flops(batch=1) == 2 * (3 * weights - 784 * 200)
    assert bench.step_flops(batch=20) == 20 * bench.step_flops(batch=1)


def test_seconds_per_step_is_the_median_and_leaves_the_start_out():
    def train(report):
        for step in range(1, 21):
            time.sleep(0.2 if step < 4 else 0.01)
            report(10 * step)

    assert bench.seconds_per_step(train) == pytest.approx(0.001, rel=0.5)


def test_the_machine_multiplies():
    assert bench.gemm_rate(size=128, repeats=3) > 1e7
