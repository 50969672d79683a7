"""The loss curve: finite coordinates for any finite loss, honest thinning, words and ticks."""

import colorsys
import re
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.panel import chart, markup, scales
from utils.panel.chart import HEIGHT, WIDTH, Curves, loss_svg
from utils.panel.records import Run

losses = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40)


def run_of(
    values: list[float], number: int = 1, framework: str = "torch", **changed: object
) -> Run:
    """A run that reported `values`, one a step."""
    run = Run(number, framework, SimpleNamespace(steps=max(len(values), 1)), dict(changed))
    for step, value in enumerate(values, 1):
        run.add(step, {"loss": value})
    return run


def numbers_in(svg: str) -> list[tuple[float, float]]:
    """Every point of every line, band, dot and text of the chart."""
    root = ElementTree.fromstring(svg)
    found = []
    for element in root.iter():
        if "points" in element.attrib:
            pairs = (pair.split(",") for pair in element.attrib["points"].split())
            found += [(float(x), float(y)) for x, y in pairs]
        for x, y in (("x", "y"), ("cx", "cy"), ("x1", "y1")):
            if x in element.attrib:
                found.append((float(element.attrib[x]), float(element.attrib[y])))
    return found


@given(losses, st.lists(losses, max_size=3), st.sampled_from(sorted(scales.AXES)))
@settings(max_examples=200, deadline=None)
def test_any_finite_losses_stay_inside_the_view_box(
    values: list[float], earlier: list[list[float]], axis: str
) -> None:
    runs = [run_of(v, i) for i, v in enumerate([*earlier, values], 1)]
    svg = loss_svg(Curves().of(runs), len(values), axis)
    assert "nan" not in svg.lower() and "inf" not in svg.lower()
    points = numbers_in(svg)
    assert len(points) > len(values)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)


@given(losses, st.booleans())
@settings(deadline=None)
def test_ticks_lie_on_the_axis_with_labels_that_are_their_numbers(
    values: list[float], log: bool
) -> None:
    scale = scales.fit(np.array(values), log)
    ticks = scale.ticks()
    assert all(-1e-6 <= position <= 1 + 1e-6 for position, _ in ticks)
    labels = [label for _, label in ticks]
    assert len(set(labels)) == len(labels) <= 9
    numbers = [float(label.replace(",", "")) for label in labels]
    assert numbers == sorted(numbers)


@given(st.floats(0.001, 1000), st.floats(0.01, 1000), st.booleans())
@settings(deadline=None)
def test_labels_stand_where_their_numbers_are(low: float, span: float, log: bool) -> None:
    scale = scales.fit(np.array([low, low + span]), log)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 9
    for position, label in ticks:
        there = float(scale(np.array(float(label.replace(",", "")))))
        assert there == pytest.approx(position, abs=0.02)


def test_a_log_axis_needs_losses_above_zero() -> None:
    assert scales.fit(np.array([1.0, 10.0]), log=True).log
    assert not scales.fit(np.array([0.0, 10.0]), log=True).log


@given(losses, st.integers(1, 50))
@settings(deadline=None)
def test_thinning_keeps_ends_and_range(values: list[float], limit: int) -> None:
    steps = np.arange(1.0, len(values) + 1)
    kept, means, lows, highs = scales.thin(steps, np.array(values), limit)
    assert len(kept) == len(means) == min(len(values), limit)
    assert kept[-1] == steps[-1] and (np.diff(kept) > 0).all()
    assert lows.min() == min(values) and highs.max() == max(values)
    assert ((lows <= means) & (means <= highs)).all()


def test_thinning_draws_means() -> None:
    steps, means, _, _ = scales.thin(np.arange(1.0, 7), np.array([1.0, 3, 5, 7, 2, 4]), 3)
    assert steps.tolist() == [2, 4, 6] and means.tolist() == [2, 6, 3]


def test_a_hundred_thousand_points_and_seven_earlier_runs_make_little_html() -> None:
    rng = np.random.default_rng(0)
    runs = [run_of(list(rng.random(5_000)), i) for i in range(1, 8)]
    runs.append(run_of(list(rng.random(100_000)), 8))
    curves = Curves().of(runs)
    assert len(curves) == 8
    svg = loss_svg(curves, 100_000)
    assert len(svg) < 30_000 and svg.count("<polyline") == 8
    assert "band: their range" in markup.legend(curves)


def test_attributes_tell_tests_and_screen_readers_what_is_drawn() -> None:
    runs = [run_of([3.0, 2.0]), run_of([2.0, 0.5, 0.75], 2, "keras", learning_rate=0.1)]
    root = ElementTree.fromstring(loss_svg(Curves().of(runs), 3, state="done"))
    assert root.attrib["role"] == "img"
    data = {k: v for k, v in root.attrib.items() if k.startswith("data-")}
    assert data == {"data-state": "done", "data-run": "2", "data-step": "3", "data-loss": "0.75"}
    assert root.attrib["aria-label"] == (
        "loss against step, run 2, Keras: step 3 of 3, last 0.75, lowest 0.5 at step 2; "
        "1 earlier run behind it."
    )
    texts = [element.text for element in root.iter() if element.text]
    assert {"step", "loss", "1", "2", "0", "0.5", "1.0", "3"} <= set(texts)


def test_an_empty_chart_says_so() -> None:
    root = ElementTree.fromstring(loss_svg([], 1))
    assert root.attrib["data-step"] == "0" and "empty" in root.attrib["aria-label"]
    assert "The loss appears here." in [element.text for element in root.iter()]


def test_earlier_runs_differ_in_more_than_colour() -> None:
    curves = Curves().of([run_of([1.0, 2.0], number) for number in range(1, 9)])
    assert [curve.run.number for curve in curves] == list(range(1, 9))
    assert curves[-1].current and curves[-1].dashes == ()
    dashes = [curve.dashes for curve in curves[:-1]]
    assert all(dashes) and all(a != b for a, b in zip(dashes, dashes[1:], strict=False))
    looks = [(curve.colour, curve.dashes) for curve in curves]
    assert len(set(looks)) == 8
    svg = loss_svg(curves, 2)
    assert svg.count("stroke-dasharray") == 7 and 'stroke-opacity="0.85"' in svg
    legend = markup.legend(curves)
    assert legend.count("stroke-dasharray") == 7 and "8 PyTorch (this run)" in legend


def test_a_run_that_reports_another_name_is_not_drawn_over_this_one() -> None:
    other = run_of([])
    other.add(1, {"accuracy": 0.5})
    curves = Curves().of([other, run_of([1.0], 2)])
    assert [curve.run.number for curve in curves] == [2]


def test_a_new_run_without_reports_leaves_the_others_on_show() -> None:
    curves = Curves().of([run_of([1.0, 2.0]), run_of([], 2)])
    assert [(curve.run.number, curve.current) for curve in curves] == [(1, False)]


def test_curves_forget_what_a_reset_forgot() -> None:
    known = Curves()
    known.of([run_of([1.0]), run_of([2.0], 2)])
    curves = known.of([run_of([5.0]), run_of([6.0], 2)])
    assert [float(curve.means[0]) for curve in curves] == [5, 6]


def test_without_the_first_tenth_the_axis_fits_the_rest() -> None:
    run = run_of([100.0] * 9 + [1.0] * 91)
    whole, late = (loss_svg(Curves().of([run]), 100, axis) for axis in ("linear", "late"))
    tops = [
        max(float(t) for t in re.findall(r">(\d+(?:\.\d+)?)</text>", svg)[:6])
        for svg in (whole, late)
    ]
    assert tops[0] >= 100 and tops[1] < 2


@pytest.mark.parametrize("framework", sorted(chart.COLOURS))
@pytest.mark.parametrize(("background", "dark"), [("#FFFFFF", False), ("#111111", True)])
def test_colours_keep_their_contrast_in_both_themes(
    framework: str, background: str, dark: bool
) -> None:
    for colour in chart.COLOURS[framework]:
        light, other = _luminance(colour), _luminance(background)
        contrast = (max(light, other) + 0.05) / (min(light, other) + 0.05)
        assert contrast >= 3, f"{colour} on {background}: {contrast:.2f}"


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    assert colorsys.rgb_to_hls(*channels)[2] > 0 or colour in ("#FFFFFF", "#111111")
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))
