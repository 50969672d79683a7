"""Weights in torchvision's layout: every key has its place, and a wrong one is named."""

import numpy as np
import pytest

from utils import CourseError
from utils.parity_torchvision import (
    ALEXNET,
    Row,
    keys,
    names,
    narrow,
    neutral,
    parts,
    resnet,
    vgg,
)

TABLE = (
    Row("features.0", "conv1", "conv without bias"),
    Row("features.1", "norm1", "norm"),
    Row("classifier.1", "dense2", "dense", maps=(2, 2, 3)),
)


@pytest.fixture
def state():
    rng = np.random.default_rng(0)
    shapes = {"features.0.weight": (2, 1, 3, 5), "classifier.1.weight": (4, 12)}
    shapes |= {"classifier.1.bias": (4,)}
    for part in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"features.1.{part}"] = (2,)
    return {key: rng.normal(size=shape) for key, shape in shapes.items()}


def test_every_array_finds_its_name_and_its_axes(state):
    found = neutral(state, TABLE)
    assert {name: value.shape for name, value in found.items()} == {
        "conv1.kernel": (3, 5, 1, 2),
        **{f"norm1.{part}": (2,) for part in ("gamma", "beta", "moving_mean", "moving_variance")},
        "dense2.kernel": (12, 4),
        "dense2.bias": (4,),
    }
    assert found["conv1.kernel"][2, 4, 0, 1] == state["features.0.weight"][1, 0, 2, 4]
    assert np.array_equal(found["norm1.moving_variance"], state["features.1.running_var"])


def test_rows_of_flattened_maps_stand_channels_last(state):
    maps = np.random.default_rng(1).normal(size=(2, 2, 3))  # C, H, W
    expected = state["classifier.1.weight"] @ maps.ravel()
    found = maps.transpose(1, 2, 0).ravel() @ neutral(state, TABLE)["dense2.kernel"]
    assert found == pytest.approx(expected)


def test_a_counter_is_no_weight(state):
    counted = {**state, "features.1.num_batches_tracked": np.array(7)}
    assert neutral(counted, TABLE).keys() == neutral(state, TABLE).keys()


def test_a_missing_and_an_extra_key_are_named(state):
    state["features.9.weight"] = state.pop("classifier.1.bias")
    with pytest.raises(CourseError) as error:
        neutral(state, TABLE)
    assert "classifier.1.bias is missing" in str(error.value)
    assert "features.9.weight is unexpected" in str(error.value)


def test_many_wrong_keys_are_counted():
    with pytest.raises(CourseError, match=r"features.0.weight is missing.*and 10 more"):
        neutral({}, ALEXNET)


def test_arrays_of_another_kind_are_named(state):
    with pytest.raises(CourseError, match="features.0.weight has 2 axes"):
        neutral({**state, "features.0.weight": np.ones((2, 3))}, TABLE)
    with pytest.raises(CourseError, match="reads 8 numbers, but maps of 2×2×3 have 12"):
        neutral({**state, "classifier.1.weight": np.ones((4, 8))}, TABLE)


def test_alexnets_table_is_torchvisions():
    assert keys(ALEXNET) == [
        f"{layer}.{part}"
        for layer in (
            *(f"features.{place}" for place in (0, 3, 6, 8, 10)),
            *(f"classifier.{place}" for place in (1, 4, 6)),
        )
        for part in ("weight", "bias")
    ]
    assert [row.maps for row in narrow(ALEXNET, 16)][5:] == [(16, 6, 6), None, None]


def test_resnets_tables_are_torchvisions():
    eighteen = keys(resnet((2, 2, 2, 2), "basic"))
    fifty = keys(resnet((3, 4, 6, 3), "bottleneck"))
    assert (len(eighteen), len(fifty)) == (102, 267)
    assert eighteen[:3] == ["conv1.weight", "bn1.weight", "bn1.bias"]
    assert eighteen[-2:] == ["fc.weight", "fc.bias"]
    halves = {key.rsplit(".", 2)[0] for key in eighteen if "downsample" in key}
    assert halves == {f"layer{stage}.0.downsample" for stage in (2, 3, 4)}
    assert "layer1.0.downsample.0.weight" in fifty  # 64 channels to 256
    assert "layer3.5.bn3.running_var" in fifty and "layer3.6.bn3.running_var" not in fifty


def test_names_go_from_theirs_to_ours():
    table = resnet((2, 2, 2, 2), "basic")
    found = names(table)
    assert list(found) == keys(table)
    assert found["layer2.0.downsample.1.running_mean"] == "block3.shortcut_norm.moving_mean"
    assert found["layer4.1.conv2.weight"] == "block8.conv2.kernel"


def test_vggs_table_counts_relus_and_poolings():
    plain = [row.theirs for row in vgg((1, 1, 2, 2, 2))]
    places = (0, 3, 6, 8, 11, 13, 16, 18)
    assert plain == [*(f"features.{i}" for i in places), *(f"classifier.{i}" for i in (0, 3, 6))]
    normed = vgg((2, 2, 3, 3, 3), norm=True)
    assert [row.theirs for row in normed[:6:2]] == ["features.0", "features.3", "features.7"]
    assert normed[-4].theirs == "features.41" and normed[-4].ours == "norm5_3"
    assert normed[-3].maps == (512, 7, 7)
    assert parts(normed[1])["running_mean"] == "moving_mean"
