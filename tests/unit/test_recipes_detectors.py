"""What the detectors' recipes share, with a detector that needs no training."""

from types import SimpleNamespace

import numpy as np
import pytest

from utils import CourseError, boxes, checkpoints, data, lessons, results
from utils.boxes import Found
from utils.recipes import _detectors

torch = pytest.importorskip("torch")


class Oracle(torch.nn.Module):
    """A detector of one weight, which is how sure it is of the boxes that it was given."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(1, 1)

    def forward(self, x):
        return self.head(x)


@pytest.fixture
def way(monkeypatch, tmp_path):
    """A lesson whose model knows where the white square is, and data of nothing else."""

    def train(images, truths, settings, report):
        report(10, {"loss": 0.5})
        return Oracle()

    def detect(model, images, score=0.05):
        found = []
        for image in images:
            y, x = np.nonzero(image[..., 0] == 255)
            corners = [[x.min(), y.min(), x.max() + 1, y.max() + 1]] if len(x) else []
            sure = np.full(len(corners), 0.9, np.float32)
            found.append(Found(boxes.truth(corners).boxes, sure, np.zeros(len(corners), np.int64)))
        return found

    way = SimpleNamespace(build=lambda settings: Oracle(), train=train, detect=detect)
    lesson = SimpleNamespace(ways={"torch": way})
    monkeypatch.setattr(lessons, "load", lambda *_: lesson)
    monkeypatch.setattr(checkpoints, "FOLDER", tmp_path)
    for function in (checkpoints.save, checkpoints.load, checkpoints.load_into):
        monkeypatch.setattr(function, "__defaults__", (tmp_path,))
    images, truths = np.zeros((6, 20, 30, 3), np.uint8), []
    for place in range(6):
        images[place, 3 : 8 + place, 5:15] = 255
        truths.append(boxes.truth([[5, 3, 15, 8 + place]], [0]))
    toy = data.Detection(
        "Toy", ("square", "circle"), images, truths, images, truths, "drawn", real=True
    )
    monkeypatch.setattr(_detectors, "real_detection", lambda kind: toy)
    return way


def test_a_detector_is_trained_kept_restored_and_measured(way, tmp_path, capsys):
    settings = SimpleNamespace(seed=3, steps=10, sizes=[1, 2])
    for kind in _detectors.KINDS:
        _detectors.train("13_toy", kind, settings, "an oracle", tmp_path / "build", say_every=0)
    assert "13_toy_bccd: AP 1.000, AP50 1.000" in capsys.readouterr().out
    names = {path.name for path in tmp_path.glob("*.safetensors")}
    assert names == {"13_toy.safetensors", "13_toy_bccd.safetensors"}
    _, model, checkpoint = _detectors.restore("13_toy_bccd", "torch")
    assert isinstance(model, Oracle) and checkpoint.info["settings"]["sizes"] == [1, 2]
    stated, found = _detectors.remeasured("13_toy", "torch")
    assert found == pytest.approx(stated, abs=1e-4)

    records = _detectors.measure("13_toy", "torch", images=5)
    common = dict.fromkeys(("notebook", "device", "commit"), "") | {
        "framework": "torch",
        "seconds": 1.0,
        "peak_memory_mb": 1.0,
        "versions": {},
    }
    made = {r.metric: r for r in (results.Record(**{**common, **record}) for record in records)}
    assert made["scenes AP50"].value == made["BCCD AP"].value == 1
    assert made["BCCD AP50: square"].low == 1 and "BCCD AP50: circle" not in made
    assert made["ms per image, scenes"].low <= made["ms per image, scenes"].value
    assert made["parameters"].value == 2 and made["parameters"].spread == "exact"


def test_full_profile_refuses_drawn_cells(monkeypatch):
    drawn = SimpleNamespace(real=False)
    monkeypatch.setattr(data, "bccd", lambda: drawn)
    with pytest.raises(CourseError, match="needs the real BCCD"):
        _detectors.real_detection("bccd")
    with pytest.raises(CourseError, match="choose"):
        _detectors.real_detection("cats")
