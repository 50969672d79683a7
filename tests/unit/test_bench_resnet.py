"""ResNet-20's benchmark: what it computes, and that its loops make steps. No time is asserted."""

import pytest

from utils import bench_resnet, data, lessons


def test_ratios_are_of_the_same_block():
    times = {
        "textbook": [(2.0, 1.0), (4.0, 1.0), (9.0, 1.0)],
        "ours": [(1.0, 0.5), (1.0, 0.5), (3.0, 0.5)],
    }
    found = bench_resnet.ratios(times, "textbook", 0)
    assert found["textbook"] == (1.0, 1.0, 1.0)
    assert found["ours"] == (3.0, 2.0, 4.0)
    assert bench_resnet.ratios(times, "textbook", 1)["ours"] == (2.0, 2.0, 2.0)


def test_what_does_not_pay_and_what_does_not_run_is_said():
    times = {"textbook": [(1.0, 1.0)] * 2, "trick": [(0.5, 0.4)] * 2, "trap": [(2.0, 1.6)] * 2}
    said = bench_resnet.rows(times, {"compiler": "OSError: none"}, "textbook")
    assert "does not pay" not in said[0] and "does not pay" not in said[1]
    assert "2.00× as fast" in said[1] and "processor  2.50×" in said[1]
    assert "0.50×" in said[2] and said[2].endswith("does not pay here")
    assert "compiler" in said[3] and "does not run here: OSError: none" in said[3]


def test_loops_take_turns_and_one_that_fails_is_left_out():
    order = []

    class Loop:
        def __init__(self, name):
            self.name = name

        def turn(self, steps, report):
            order.append((self.name, steps))
            for step in range(1, steps + 1):
                report(step)

    def broken():
        raise OSError("no compiler\nand more")

    loops = {"a": lambda: Loop("a"), "b": lambda: Loop("b"), "c": broken}
    times, failed = bench_resnet.take_turns(loops, blocks=2, steps=10)
    assert order == [("a", 2), ("b", 2), ("a", 10), ("b", 10), ("a", 10), ("b", 10)]
    assert failed == {"c": "OSError: no compiler"}
    assert [len(times[name]) for name in ("a", "b")] == [2, 2]
    assert all(wall >= 0 and processor >= 0 for wall, processor in times["a"])


@pytest.mark.parametrize("title", ["textbook loop", "channels last", "all three"])
def test_each_trick_trains_the_same_network(monkeypatch, title):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(bench_resnet, "BATCH", 16)
    monkeypatch.setattr(bench_resnet, "WIDTH", 4)
    monkeypatch.setattr(bench_resnet, "DEPTH", 8)
    digits = data.mnist("embedded")
    lesson, seen = lessons.load("12_resnet", "torch"), []
    tricks = bench_resnet.TRICKS[title]
    loop = bench_resnet.TorchLoop(lesson, digits.x_train[:64], digits.y_train[:64], tricks)
    before = loop.model.stem.weight.detach().clone()
    kernel = loop.model.block1.conv1.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last) == tricks[1]
    loop.turn(3, lambda step: seen.append(step) or True)
    assert seen == [1, 2, 3]
    assert (loop.model.stem.weight != before).any() and torch.isfinite(loop.model.stem.weight).all()
    assert loop.bf16 == tricks[2]


def test_textbook_batches_are_as_many_as_asked_and_like_the_lessons():
    pytest.importorskip("torch")
    digits = data.mnist("embedded")
    batches = list(bench_resnet.one_by_one(digits.x_train[:300], digits.y_train[:300], steps=3))
    assert len(batches) == 3  # two to an epoch
    x, y = batches[0]
    assert tuple(x.shape) == (bench_resnet.BATCH, 28, 28, 1) and len(y) == bench_resnet.BATCH
    assert float(x.min()) == pytest.approx((0 - 33) / 79)
