"""20_onnx: files against their models, the interpreters, eight bits by hand, the door."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from utils import CourseError, checkpoints, graphs, runtime
from utils.recipes import onnx as recipe

NAME = "20_onnx"
ALL = ("digits", "decoder", "generator", "detector")


@pytest.fixture(scope="module")
def files(lesson):
    return {name: lesson["torch"].to_onnx(name) for name in ALL}


@pytest.fixture(scope="module")
def classifier(files):
    return onnx.load_from_string(files["digits"])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_a_file_computes_what_its_model_computes(lesson, name, framework):
    assert max(lesson[framework].differences(name, framework)) < 1e-5


@pytest.mark.parametrize("name", ALL)
def test_a_file_is_whole_open_and_says_nothing_of_its_maker(files, name):
    model = onnx.load_from_string(files[name])
    onnx.checker.check_model(model, full_check=True)
    (entrance,) = model.graph.input
    assert entrance.type.tensor_type.shape.dim[0].dim_param  # the batch is a word
    assert not any(node.metadata_props for node in model.graph.node)
    assert b"site-packages" not in files[name] and b"pkg.torch" not in files[name]


def test_what_was_found_is_sorted_by_picture_then_by_score(lesson, files):
    found = lesson["torch"].run(
        lesson["torch"].session(files["detector"]), lesson["torch"].inputs("detector", 5)
    )
    assert set(found["pictures"]) == set(range(5)) and (found["scores"] > 0.05).all()
    keys = list(zip(found["pictures"], -found["scores"], strict=True))
    assert keys == sorted(keys)


def test_a_picture_without_anything_gives_empty_lists(lesson, files):
    lesson = lesson["torch"]
    found = lesson.run(lesson.session(files["detector"]), np.zeros((2, 96, 96, 3), "float32"))
    assert [len(found[name]) for name in lesson.FOUND] == [0, 0, 0, 0]


def test_numpy_runs_the_classifier(lesson, files, classifier):
    lesson, kept = lesson["torch"], {}
    x = lesson.inputs("digits", 3)
    said = lesson.interpret(classifier, x, lesson.NUMPY, kept)
    np.testing.assert_allclose(said, lesson.run(lesson.session(files["digits"]), x), atol=1e-5)
    assert all(node.output[0] in kept for node in classifier.graph.node)


def test_an_operator_that_the_interpreter_lacks_is_named(lesson, classifier):
    few = {k: v for k, v in lesson["torch"].NUMPY.items() if k != "Gemm"}
    with pytest.raises(CourseError, match="no Gemm: write it"):
        lesson["torch"].interpret(classifier, lesson["torch"].inputs("digits", 1), few)


def test_the_way_back_agrees_and_has_gradients(lesson, files):
    import tensorflow as tf
    import torch

    x = 100 + 0.3 * lesson["torch"].inputs("digits", 8)  # in fog: the answers are not yet 0 or 1
    wanted = lesson["torch"].run(lesson["torch"].session(files["digits"]), x)
    back = lesson["torch"].TorchFromONNX(files["digits"])
    p = back(torch.as_tensor(x))
    np.testing.assert_allclose(p.detach().cpu().numpy(), wanted, atol=1e-5)
    p.square().sum().backward()
    mine = [w.grad.cpu().numpy() for w in back.parameters()]
    back_tf = lesson["tensorflow"].TFFromONNX(files["digits"])
    with tf.GradientTape() as tape:
        p = back_tf(tf.constant(x))
        loss = tf.reduce_sum(p**2)
    np.testing.assert_allclose(p.numpy(), wanted, atol=1e-5)
    its = tape.gradient(loss, back_tf.weights)
    assert back.names == list(back_tf.names) and len(mine) == len(its) == 40
    scale = max(np.abs(g).max() for g in mine)
    for name, a, b in zip(back.names, mine, its, strict=True):
        np.testing.assert_allclose(a, b.numpy(), atol=1e-3 * scale, err_msg=name)


def test_eight_bits_keep_the_answers_and_save_three_quarters(lesson, files):
    lesson = lesson["torch"]
    x = lesson.inputs("digits", 300)
    small = lesson.quantised("digits", x[:64])
    assert len(files["digits"]) / len(small) > 3.2
    said, wanted = (lesson.run(lesson.session(f), x).argmax(1) for f in (small, files["digits"]))
    # Digits enlarged from 8×8 are harder than MNIST's, of which none is lost.
    assert np.mean(said == wanted) > 0.94
    wrong = lesson.quantised("digits", x[:64] / 255)  # the trap must bite
    assert np.mean(lesson.run(lesson.session(wrong), x).argmax(1) == wanted) < 0.5


def test_one_layer_by_hand_has_the_bytes_of_the_runtime(lesson):
    lesson = lesson["torch"]
    alone, x = lesson.one_layer()
    layer = lesson.quantise(alone, x, reduce_range=True)
    q, scale, zero = lesson.quantised_layer(layer, x)
    its = np.rint(lesson.run(lesson.session(layer), x) / scale + zero)
    assert np.abs(its - q).max() <= 1 and np.mean(its == q) > 0.999
    assert len(np.unique(q)) > 50


def test_slim_changes_names_and_no_number(lesson, files):
    lesson = lesson["torch"]
    x, thin = lesson.inputs("generator", 2), lesson.slim(files["generator"])
    assert len(thin) < len(files["generator"])
    np.testing.assert_array_equal(
        lesson.run(lesson.session(thin), x), lesson.run(lesson.session(files["generator"]), x)
    )


def _changed(content, change):
    model = onnx.load_from_string(content)
    change(model)
    return model.SerializeToString()


def _outside(where):
    def change(model):
        value = model.graph.initializer[0]
        value.ClearField("raw_data")
        value.data_location = TensorProto.EXTERNAL
        value.external_data.add(key="location", value=where)

    return change


BROKEN = {
    "is empty": lambda f: b"",
    "damaged or cut short": lambda f: f[: len(f) // 2],
    "a safetensors file": lambda f: (checkpoints.FOLDER / "02_vae.safetensors").read_bytes(),
    "a LiteRT": lambda f: b"\x1c\0\0\0TFL3" + bytes(64),
    "a zip archive": lambda f: b"PK\x03\x04" + bytes(64),
    "a web page": lambda f: b"<!DOCTYPE html>",
    "holds no graph": lambda f: _changed(f, lambda m: m.graph.ClearField("node")),
    "IR version 99": lambda f: _changed(f, lambda m: setattr(m, "ir_version", 99)),
    "of opset 99, and": lambda f: _changed(f, lambda m: setattr(m.opset_import[0], "version", 99)),
    "No Op registered for Turn": lambda f: _changed(
        f, lambda m: setattr(m.graph.node[4], "op_type", "Turn")
    ),
    "operators of org.mine": lambda f: _changed(
        f, lambda m: setattr(m.graph.node[4], "domain", "org.mine")
    ),
    "do not trust it": lambda f: _changed(f, _outside("../../secret")),
    "in weights.bin beside it": lambda f: _changed(f, _outside("weights.bin")),
}


@pytest.mark.parametrize("words", BROKEN)
def test_a_broken_or_hostile_file_is_refused_in_words(lesson, files, words):
    with pytest.raises(CourseError, match=words):
        lesson["torch"].opened(BROKEN[words](files["digits"]))


def test_an_absolute_path_is_refused(lesson, files):
    with pytest.raises(CourseError, match="do not trust it"):
        lesson["torch"].opened(_changed(files["digits"], _outside("/etc/hostname")))


def test_a_sound_file_is_opened(lesson, files):
    lesson = lesson["torch"]
    assert lesson.asked(lesson.opened(files["digits"]), lesson.inputs("digits", 2)).shape == (2, 10)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((1, 28, 28), "uint8"), "must be float32 and is uint8"),
        (np.zeros((1, 28, 28)), "must be float32 and is float64"),
        (np.zeros((28, 28), "float32"), r"the batch is missing: x\[None\]"),
        (np.zeros((1, 28, 28, 1), "float32"), "an axis too many"),
        (np.zeros((1, 27, 28), "float32"), "must be batch×28×28 and is 1×27×28"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_in_words(lesson, files, x, words):
    ready = lesson["torch"].session(files["digits"])
    with pytest.raises(CourseError, match=words):
        lesson["torch"].asked(ready, x)


def test_channels_last_taken_for_channels_second_is_named(lesson):
    from onnx import helper

    for shape, given, words in (
        (["batch", 3, 8, 9], (1, 8, 9, 3), r"channels last.*transpose\(0, 3, 1, 2\)"),
        (["batch", 8, 9, 3], (1, 3, 8, 9), r"channels second.*transpose\(0, 2, 3, 1\)"),
    ):
        values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xy"]
        graph = helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"])], "g", *map(list, zip(values, strict=True))
        )
        opset = [helper.make_opsetid("", 20)]
        content = helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
        with pytest.raises(CourseError, match=words):
            lesson["torch"].asked(lesson["torch"].opened(content), np.zeros(given, "float32"))


def test_a_drawing_has_a_box_for_every_node(classifier):
    (ax,) = graphs.draw(classifier.graph).axes
    names = [text.get_text().replace("\n", "") for text in ax.texts]
    assert names == [node.op_type for node in classifier.graph.node]
    assert graphs.kind(classifier.graph.node[4]) == "multiplies"


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_the_recipe_measures_what_it_promises(framework):
    records = recipe.measure(framework, images=100)
    names = [record["metric"] for record in records]
    assert len(names) == len(set(names))
    assert all(r["low"] <= r["value"] <= r["high"] for r in records)
    assert all(r["value"] < 1e-5 for r in records if "difference" in r["metric"])
    if framework == "torch":
        assert set(recipe.HEADLINES) <= set(names)


def test_what_is_recorded_stands_in_the_table():
    text = recipe.table()
    if "Nothing measured" not in text:
        assert all(name in text for name in (*ALL, "PyTorch", "Keras", "accuracy in 8 bits"))
        assert max(map(len, text.splitlines())) < 110
