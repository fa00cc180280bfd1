"""What a cell needs is known before work: counts against closed forms, free memory against a system that is made up."""

import math
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ncvqvae_lite import experiment_budget
from ncvqvae_lite.config import ExperimentConfig
from ncvqvae_lite.data import from_arrays
from ncvqvae_lite.errors import BadInput, LongRun
from ncvqvae_lite.experiment import cell_folder, run_experiment
from ncvqvae_lite.experiment_budget import check_budget, needs
from ncvqvae_lite.experiment_counts import Shape, count, count_fcn
from ncvqvae_lite.experiment_machine import free_memory, speed
from ncvqvae_lite.experiment_stages import resolve

CPU, GB = torch.device("cpu"), 1e9


def series(n_train, n_test=20, channels=1, length=128, labels=True):
    def split(n):
        x = torch.zeros(1, 1, 1).expand(n, channels, length)  # no memory
        return x, torch.arange(n) % 4 if labels else None

    (x, y), (x_test, y_test) = split(n_train), split(n_test)
    n_classes = 4 if labels else 0
    sizes = f"{n_train} train and {n_test} test series, {channels} channel(s), {length} steps"
    return SimpleNamespace(
        x_train=x, y_train=y, x_test=x_test, y_test=y_test, channels=channels, length=length, n_classes=n_classes,
        name="made_up", sizes=sizes,
    )  # fmt: skip


def preset(name="quick", **changes):
    return ExperimentConfig.preset(name, dataset="made_up", **changes)


@pytest.fixture
def machine(monkeypatch):
    """`machine(gigabytes, operations per second)` -> the machine that is asked."""

    def is_made(memory=math.inf, per_second=math.inf):
        monkeypatch.setattr(experiment_budget, "free_memory", lambda device: memory * GB)
        monkeypatch.setattr(experiment_budget, "speed", lambda device: per_second)

    return is_made


def check(cfg, ds, out, fcn_weights=None):
    session = SimpleNamespace(device=CPU, out_dir=out)
    check_budget(cfg, ds, session, cell_folder(cfg, out, fcn_weights), fcn_weights)


# --- counts ---


def test_operations_of_a_linear_and_of_a_convolution():
    with torch.device("meta"):
        net = nn.Sequential(nn.Conv1d(3, 5, 4), nn.Flatten(), nn.Linear(5 * 7, 2))
        up, x = nn.ConvTranspose1d(3, 5, 4, stride=2), torch.empty(6, 3, 10)
        assert count(lambda: net(x), net).operations == 2 * 6 * (5 * 7 * 3 * 4 + 5 * 7 * 2)
        assert count(lambda: up(x), up).operations == 2 * 6 * 3 * 10 * 5 * 4


def test_memory_is_that_of_the_tensors_that_are_kept():
    with torch.device("meta"):
        x = torch.empty(1000, 1000, requires_grad=True)

        def kept():
            y = x
            for _ in range(5):
                y = y.exp()  # each result is kept for the backward pass
            return y

        with torch.no_grad():
            assert count(kept).memory == 2 * 4e6  # one is made of the one before
        assert count(kept).memory == (5 + 2) * 4e6


def test_the_classifier_by_hand():
    shape = Shape(n_train=10, n_test=5, channels=2, length=50, n_classes=3)
    per_step = 8 * 2 * 128 + 5 * 128 * 256 + 3 * 256 * 128
    assert count_fcn(shape, 7).operations == pytest.approx(2 * 7 * (50 * per_step + 128 * 3), rel=1e-3)
    assert count_fcn(shape, 1400).memory > 1.8 * count_fcn(shape, 700).memory


@pytest.mark.parametrize("preset_name", ["quick", "paper"])
@pytest.mark.parametrize("arm", [("regular", "none"), ("barlowtwins", "warp"), ("vibcreg", "slice")])
def test_every_stage_is_counted(preset_name, arm, machine):
    machine(per_second=1e10)
    ds = series(100)
    cfg = resolve(preset(preset_name, method=arm[0], augmentation=arm[1]), ds)
    found = needs(cfg, ds, CPU)
    assert list(found) == ["fcn", "tokenizer", "prior", "samples", "cas"]
    assert all(need.seconds > 0 and 1e5 < need.memory < 2 * GB for need in found.values())
    twice = needs(cfg, series(200, 40), CPU)
    assert twice["prior"].seconds / found["prior"].seconds == pytest.approx(2, rel=0.1 if preset_name == "paper" else 1)
    assert list(needs(cfg, series(100, labels=False), CPU)) == ["tokenizer", "prior", "samples"]


# --- what is refused, and what is announced ---


def test_what_does_not_fit_is_refused_with_what_would(machine, tmp_path):
    machine(memory=8)
    ds = series(50, 50, length=20_000)
    check(preset(), ds, tmp_path)
    with pytest.raises(
        BadInput, match=r"cas of made_up .* needs about 3\d.* GB .* are free: set fcn_batch_size="
    ) as caught:
        check(preset("paper"), ds, tmp_path)
    (batch_size,) = [int(word.split("=")[1].rstrip(",")) for word in str(caught.value).split() if "batch_size" in word]
    check(preset("paper", fcn_batch_size=batch_size), ds, tmp_path)


def test_a_codebook_of_a_million_is_refused(machine, tmp_path):
    machine(memory=8)
    with pytest.raises(BadInput, match="codebook_size=|batch_size="):
        check(preset(codebook_size=1_000_000), series(100), tmp_path)


def test_where_no_setting_helps_the_series_are_named(machine, tmp_path):
    machine(memory=0.001)
    with pytest.raises(BadInput, match="use shorter or fewer series"):
        check(preset(), series(100, length=1000, labels=False), tmp_path)


def test_finished_stages_are_not_asked_for(machine, tmp_path):
    machine(memory=8)
    ds, cfg = series(500, 50, length=20_000), preset(cas=False, fcn_batch_size=256)
    with pytest.raises(BadInput, match="fcn of made_up"):
        check(cfg, ds, tmp_path)
    weights = tmp_path / "given.safetensors"
    weights.write_bytes(b"weights")
    check(cfg, ds, tmp_path, weights)
    cfg.fcn_folder(tmp_path).mkdir(parents=True)
    (cfg.fcn_folder(tmp_path) / "metrics.json").write_text("{}")
    check(cfg, ds, tmp_path)


def test_hours_are_announced_with_what_makes_them_shorter(machine, tmp_path):
    machine(per_second=1e11)
    ds = series(100_000, 20_000)
    with pytest.warns(LongRun, match=r"about .* h or more here \(fcn .*cas .*\): fcn_epochs=.*, cas=false make it"):
        check(preset(fcn_epochs=100), ds, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(preset(), series(100), tmp_path)


def test_a_run_is_refused_before_any_work(machine, tmp_path):
    machine(memory=0.0001)
    x, y = torch.randn(20, 1, 32), torch.arange(20) % 2
    ds = from_arrays(x, y, x, y, name="made_up")
    with pytest.raises(BadInput, match="GB are free"):
        run_experiment(preset(), ds, tmp_path)
    assert not list(tmp_path.rglob("config.json"))


# --- the machine ---


def test_the_speed_of_this_machine():
    assert 1e7 < speed(CPU) < 1e16
    assert speed(CPU) == speed(CPU)


def made_up_system(root, meminfo="", cgroup="", files=()):
    for path, text in [("proc/meminfo", meminfo), ("proc/self/cgroup", cgroup), *files]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


MEMINFO = "MemTotal:       16000 kB\nMemFree:  10 kB\nMemAvailable:   8000 kB\nHugePages_Total:  0\n"


def test_free_memory_of_a_plain_machine(tmp_path):
    assert free_memory(CPU, made_up_system(tmp_path, MEMINFO, "0::/\n")) == 8000 * 1024


def test_free_memory_within_a_container(tmp_path):
    group = "sys/fs/cgroup"
    files = [(f"{group}/memory.max", "5000000\n"), (f"{group}/memory.current", "3000000\n")]
    files += [(f"{group}/memory.stat", "anon 7\ninactive_file 500000\n")]
    assert free_memory(CPU, made_up_system(tmp_path, MEMINFO, "0::/\n", files)) == 2_500_000


def test_the_narrowest_limit_counts(tmp_path):
    files = []
    for group, limit in (("sys/fs/cgroup/jobs", "4000000"), ("sys/fs/cgroup/jobs/mine", "max")):
        files += [(f"{group}/memory.max", limit), (f"{group}/memory.current", "1000000"), (f"{group}/memory.stat", "")]
    assert free_memory(CPU, made_up_system(tmp_path, MEMINFO, "0::/jobs/mine\n", files)) == 3_000_000


def test_control_groups_of_the_first_version(tmp_path):
    group = "sys/fs/cgroup/memory/job"
    files = [(f"{group}/memory.limit_in_bytes", "6000000"), (f"{group}/memory.usage_in_bytes", "1000000")]
    files += [(f"{group}/memory.stat", "total_inactive_file 0\n")]
    listing = "5:cpu,cpuacct:/job\n3:memory:/job\n"
    assert free_memory(CPU, made_up_system(tmp_path, MEMINFO, listing, files)) == 5_000_000


def test_a_system_that_tells_nothing(tmp_path):
    assert free_memory(CPU, tmp_path) > 1e8  # all memory of the machine, or no limit
