"""Sprites: every combination once, drawn exactly, alike on every machine."""

import hashlib
import importlib

import numpy as np
import pytest

from utils import CourseError, data

module = importlib.import_module("utils.data.sprites")


def test_every_combination_of_factors_stands_there_once():
    found = data.sprites()
    assert found.images.shape == (6144, 32, 32) and found.images.dtype == np.uint8
    assert set(np.unique(found.images)) == {0, 255}
    assert len(np.unique(found.factors, axis=0)) == len(found.factors) == np.prod(found.sizes)
    assert found.names == ("shape", "size", "orientation", "x", "y")
    assert (found.factors.max(axis=0) + 1).tolist() == list(found.sizes) == [3, 4, 8, 8, 8]


def test_no_two_sprites_look_alike():
    flat = data.flatten(data.sprites().images)
    assert len(np.unique(np.packbits(flat > 0, axis=1), axis=0)) == len(flat)


def test_no_pixel_centre_lies_so_near_an_edge_that_rounding_could_move_it():
    forms = [(a, b, c) for a in range(3) for b in range(4) for c in range(8)]
    assert min(np.abs(module._level(*form)).min() for form in forms) > 1e-9


def test_the_pictures_are_the_same_on_every_machine():
    digest = hashlib.sha256(data.sprites().images.tobytes()).hexdigest()
    assert digest == "cde8ac922c1bfb24c2b76c286799a231378f7076f43dae14812c211da7093951"


def test_a_step_in_x_or_y_moves_the_sprite_by_one_pixel():
    found = data.sprites()
    for shape in range(3):
        here, right, down = (
            found.images[found.index(shape=shape, x=x, y=y)] for x, y in ((3, 3), (4, 3), (3, 4))
        )
        assert np.array_equal(np.roll(here, 1, axis=1), right)
        assert np.array_equal(np.roll(here, 1, axis=0), down)


def test_size_decides_the_area_whatever_shape_and_orientation():
    found = data.sprites()
    area = (found.images > 0).sum(axis=(1, 2))
    for size, wanted in enumerate(module.AREAS):
        for shape in range(3):
            mine = area[(found.factors[:, 0] == shape) & (found.factors[:, 1] == size)]
            assert mine.mean() == pytest.approx(wanted, rel=0.03)


def test_no_sprite_is_cut_by_the_frame():
    found = data.sprites()
    whole = found.images[found.index(shape=1, size=3, orientation=0, x=3, y=3)]
    for x, y in ((0, 0), (7, 7), (0, 7)):
        moved = found.images[found.index(shape=1, size=3, orientation=0, x=x, y=y)]
        assert (moved > 0).sum() == (whole > 0).sum()
    area = (found.images > 0).sum(axis=(1, 2)).reshape(found.sizes)
    assert (area == area[:, :, :, :1, :1]).all()


def test_orientation_turns_clockwise_from_upright():
    found = data.sprites()
    upright = found.images[found.index(shape=0, size=3, orientation=0)] > 0
    turned = found.images[found.index(shape=0, size=3, orientation=7)] > 0
    spans = [
        [np.ptp(np.flatnonzero(form.any(axis=a))) for a in (0, 1)] for form in (upright, turned)
    ]
    assert spans[0][1] > spans[0][0] and spans[1][0] > spans[1][1]
    rows, columns = np.nonzero(found.images[found.index(shape=0, size=3, orientation=3)])
    assert np.cov(rows, columns)[0, 1] < 0  # its upper end leans to the right


def test_drawing_follows_factors_and_sampling_follows_the_seed():
    factors = data.sample_factors(40, seed=3)
    found = data.sprites()
    rows = np.ravel_multi_index(factors.T, found.sizes)
    assert np.array_equal(data.draw_sprites(factors), found.images[rows])
    assert np.array_equal(factors, data.sample_factors(40, seed=3))
    assert not np.array_equal(factors, data.sample_factors(40, seed=4))
    many = data.sample_factors(4000)
    assert (many.min(axis=0) == 0).all() and (many.max(axis=0) + 1 == found.sizes).all()


def test_index_finds_the_row():
    found = data.sprites()
    row = found.index(shape=2, size=0, orientation=7, x=1, y=6)
    assert found.factors[row].tolist() == [2, 0, 7, 1, 6]
    assert found.factors[found.index()].tolist() == [1, 2, 4, 4, 4]


def test_mistakes_are_named():
    with pytest.raises(CourseError, match="no factor 'colour'"):
        data.sprites().index(colour=1)
    with pytest.raises(CourseError, match="x runs from 0 to 7"):
        data.sprites().index(x=8)
    with pytest.raises(CourseError, match="whole numbers"):
        data.draw_sprites(np.zeros((2, 5)))


def test_the_shared_table_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        data.sprites().images[0, 0, 0] = 1
