"""18_distributed's recipe: what is recorded, and that it says what the notebook reads."""

import pytest

from utils import engines, hosts, results
from utils.recipes import distributed as recipe


@pytest.fixture
def pretended(monkeypatch, lesson):
    """Engines that reach exactly what one process reaches, and links that take no time."""
    monkeypatch.setattr(engines, "result", lambda seed: lesson.alone(recipe.STEPS, seed))
    pretend = {
        framework: {title: lambda *a: a[-1] for title in titles}
        for framework, titles in recipe.ENGINES.items()
    }
    monkeypatch.setattr(recipe, "ENGINES", pretend)
    monkeypatch.setattr(recipe, "_times", lambda *_: [])
    monkeypatch.setattr(recipe, "_timed", lambda what, link, _: recipe._record(what, [1], "–", [0]))


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "keras"])
def test_each_engine_is_measured_with_three_seeds(pretended, framework):
    records = results.measure(recipe.NOTEBOOK, framework)
    gaps = [record for record in records if record.seeds == [0, 1, 2]]
    assert len(gaps) == 3
    assert all(record.value == record.high == 0 and record.better == "lower" for record in gaps)
    assert recipe.HEADLINES[0] in {record.metric for record in gaps}


def test_what_is_recorded_is_what_the_notebook_reads():
    found = recipe.recorded()
    assert found["links"].keys() == recipe.LINKS.keys()
    slow = found["links"]["100 Mbit/s"]
    for size in recipe.SIZES[1:]:
        floor = 8 * size / slow["bits"]
        assert 0.8 * floor < slow["allreduce"][str(size)] < 2 * floor
    assert slow["step"]["DDP"] > slow["step"]["DDP, fp16"]


def test_what_is_recorded_equals_one_process():
    equal = [
        record
        for record in results.read(recipe.NOTEBOOK)
        if record.metric in {title for titles in recipe.ENGINES.values() for title in titles}
    ]
    assert len(equal) == 9
    assert all(record.high < 1e-6 for record in equal if "fp16" not in record.metric)


def test_links_are_left_out_where_there_can_be_none(monkeypatch, capsys):
    monkeypatch.setattr(hosts, "why_not", lambda: "the reason")
    assert recipe._times("torch", "1 Gbit/s", "1gbit") == []
    assert "the reason" in capsys.readouterr().out
