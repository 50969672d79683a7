"""The arithmetic of the lesson, and its ring."""

import ast
import json
import subprocess

import numpy as np
import pytest

from utils import cluster, engines


@pytest.fixture(scope="module")
def shown():
    """The notebook's own functions that are not exported, by running their cells' definitions."""
    path = cluster.ROOT / "lessons" / "05_scale" / "18_distributed.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wanted = ("average", "indices")
    picked = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in wanted]
    names = {"np": np}
    exec(compile(ast.Module(picked, []), str(path), "exec"), names)
    return names


@pytest.mark.parametrize("world", [2, 4, 8])
def test_equal_shards_average_to_the_large_batch(lesson, shown, world):
    weights, whole = lesson.start(32, 3), lesson.batch(5, 64, 3)
    large = lesson.gradients(weights, *whole)
    parts = [lesson.gradients(weights, *lesson.shard(whole, r, world)) for r in range(world)]
    assert engines.apart(shown["average"](parts), large) < 1e-7


def test_uneven_shards_need_weights(lesson, shown):
    weights, whole = lesson.start(32, 3), lesson.batch(5, 64, 3)
    large = lesson.gradients(weights, *whole)
    shards = [tuple(p[:48] for p in whole), tuple(p[48:] for p in whole)]
    parts = [lesson.gradients(weights, *one) for one in shards]
    assert engines.apart(shown["average"](parts, [48, 16]), large) < 1e-7
    assert engines.apart(shown["average"](parts), large) > 1e-3


def test_the_gradient_by_hand_is_autograds(lesson):
    torch, parity = lesson.torch, lesson.parity
    weights, (x, y) = lesson.start(32, 1), lesson.batch(0, 64, 1)
    model = lesson.TorchNet(32)
    parity.set_weights(model, weights)
    loss = lesson.F.cross_entropy(model(torch.as_tensor(x)), torch.as_tensor(y))
    found = torch.autograd.grad(loss, parity.variables(model))
    named = parity.named_gradients(model, found)
    assert engines.apart(named, lesson.gradients(weights, x, y)) < 1e-7


def test_a_batch_depends_on_nothing_but_step_and_seed(lesson):
    first, again = lesson.batch(4, 64, 2), lesson.batch(4, 64, 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], lesson.batch(5, 64, 2)[1])
    assert not np.array_equal(first[1], lesson.batch(4, 64, 3)[1])


def test_the_samplers_indices_are_pytorchs_idea(shown):
    parts = [shown["indices"](12, rank, 3, 0, 1) for rank in range(3)]
    assert sorted(np.concatenate(parts)) == list(range(12))
    other = [shown["indices"](12, rank, 3, 0, 2) for rank in range(3)]
    assert any(not np.array_equal(a, b) for a, b in zip(parts, other, strict=True))


@pytest.mark.parametrize("world", [2, 3, 4])
def test_the_ring_sums_exactly_enough(world):
    with engines.ring(world) as made:
        made.wait(engines.DEADLINE)
        found = [json.loads(process.text) for process in made.processes]
    assert [one["rank"] for one in found] == list(range(world))
    assert max(one["error"] for one in found) < 1e-5
    assert all(seconds > 0 for one in found for seconds in one["seconds"].values())


def test_a_ring_notices_a_neighbour_that_is_gone():
    with engines.ring(3) as made:
        victim = made.processes[2]
        end = engines.DEADLINE
        made.until(lambda: victim._guardian.poll() is None and _started(victim), end)
        victim.kill()
        made.until(lambda: all(p.status is not None for p in made.processes), end, made.processes)
        others = made.processes[:2]
        assert all(process.status for process in others)
        assert any("Error" in process.text for process in others)


def _started(process):
    try:
        return bool(process.pid)
    except Exception:
        return False


def test_the_cost_model_finds_its_own_numbers(lesson):
    alpha, beta = 2e-4, 3e-9
    sizes = (4, 4000, 400_000, 40_000_000)
    made = {size: lesson.ring_seconds(3, size, alpha, beta) for size in sizes}
    assert lesson.fit(made, 3) == pytest.approx((alpha, beta), rel=1e-6)
    assert lesson.ring_seconds(2, 1e6, 0, 1e-9) == pytest.approx(1e-3)


@pytest.mark.parametrize("name", ["slurm.sbatch", "torchrun_hosts.sh"])
def test_shell_files_parse(name):
    done = subprocess.run(["bash", "-n", str(cluster.SCRIPTS / name)], capture_output=True)
    assert done.returncode == 0, done.stderr


def test_yaml_files_say_what_they_should():
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((cluster.SCRIPTS / "trainjob.yaml").read_text())
    assert (job["kind"], job["spec"]["runtimeRef"]["name"]) == ("TrainJob", "torch-distributed")
    sky = yaml.safe_load((cluster.SCRIPTS / "skypilot.yaml").read_text())
    assert sky["num_nodes"] == 2
    run = subprocess.run(["bash", "-n", "-c", sky["run"]], capture_output=True)
    assert run.returncode == 0, run.stderr


def test_every_cluster_file_starts_a_script_with_options_that_it_has():
    known = (cluster.SCRIPTS / "ddp.py").read_text()
    for name in ("slurm.sbatch", "torchrun_hosts.sh", "skypilot.yaml", "trainjob.yaml"):
        text = (cluster.SCRIPTS / name).read_text()
        _, found, after = text.partition("chapters/05_scale/scripts/ddp.py")
        assert found
        for word in after.replace("=", " ").split():
            if word.startswith("--"):
                assert f'"{word}"' in known, f"{name}: ddp.py has no {word}"


def test_scripts_are_short_and_compile():
    for path in cluster.SCRIPTS.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        ast.parse(text)
    for name in ("ddp", "fsdp", "ring", "mirrored", "multiworker", "parameter_server"):
        assert len((cluster.SCRIPTS / f"{name}.py").read_text().splitlines()) <= 125
