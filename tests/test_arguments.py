"""Arguments: what is converted, what is refused, and how. (All public functions at once: test_fuzz.py.)"""

import json
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch

from ncvqvae_lite import (
    FCN,
    ExperimentConfig,
    MaskGIT,
    Tokenizer,
    cli,
    experiment,
    from_arrays,
    run_experiment,
    train_fcn,
    train_tokenizer,
    training_fcn,
)
from ncvqvae_lite.arguments import checked, count, integer, memory_advice, number, path, shown
from ncvqvae_lite.arguments_tensors import device
from ncvqvae_lite.errors import BadInput, OutOfMemory, UserError, is_out_of_memory
from ncvqvae_lite.lab.campaign import job, state
from ncvqvae_lite.ssl_losses import Projector, barlow_twins
from ncvqvae_lite.training import Branch, tokenizer_engine

SERIES = from_arrays(np.random.default_rng(0).standard_normal((12, 16)), np.arange(12) % 2)

# --- numbers ---


@pytest.mark.parametrize(
    ("n", "message"),
    [
        (1e3, "n must be a whole number, got 1000.0: write 1000$"),
        (True, "n must be a whole number, got True"),
        (2.5, "n must be a whole number, got 2.5$"),
        ("3", "n must be a whole number, got '3'"),
        (10**12, "n must be a whole number of at most 2,147,483,647, got 1000000000000"),
        (0, "expected at least one sample"),
        (torch.tensor([2]), r"got Tensor of shape \(1,\)"),
    ],
)
def test_how_many_samples(n, message):
    with pytest.raises(BadInput, match=message):
        MaskGIT(4, 5, dim=4, width=8, depth=1, heads=1).sample(n)


@pytest.mark.parametrize("wanted", [1.9, True, "up", 3, -1, [0, 1], torch.tensor([0.0, 1.0, 1.0]), [True] * 3])
def test_what_is_no_class(wanted):
    with pytest.raises(BadInput, match="class_index"):
        MaskGIT(4, 5, 3, dim=4, width=8, depth=1, heads=1).sample(3, wanted)


@pytest.mark.parametrize("wanted", [1, np.int64(1), torch.tensor(1), [0, 1, 2], np.array([2, 1, 0], dtype=np.uint8)])
def test_classes(wanted):
    assert MaskGIT(4, 5, 3, dim=4, width=8, depth=1, heads=1).sample(np.int64(3), wanted).shape == (3, 4)


def test_checks_look_at_what_is_given_and_keep_the_signature():
    @checked(n=count, folder=path)
    def made(n=None, folder=None, *rest, **more):
        return n, folder, rest, more

    assert made() == (None, None, (), {})
    assert made(np.int32(2), "a", 5, b=6)[0] == 2 and type(made(np.int32(2))[0]) is int
    with pytest.raises(BadInput, match="n must be a whole number of 1 or more, got 0"):
        made(n=0)
    with pytest.raises(TypeError):
        checked(n=count)(lambda n: n)(m=1)


def test_what_an_error_shows_of_a_value_is_one_short_line():
    for value in ("x" * 1000, 10**5000, np.ones((50, 50)), torch.ones(50, 50), object(), {"a": "b" * 900}, "a\nb"):
        assert "\n" not in shown(value) and len(shown(value)) < 80
        with pytest.raises(BadInput):
            integer(value, "n")


# --- settings of numpy's numbers ---


@pytest.mark.parametrize("value", [0.5, Fraction(1, 2), np.float32(0.5), np.float16(0.5), np.float64(0.5)])
def test_numbers_become_floats_without_a_warning(value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy warns where a large constant becomes a float32 or float16
        assert number(value, "lr") == 0.5 and type(number(value, "lr")) is float


@pytest.mark.parametrize("value", [10**400, np.float32("inf"), float("nan"), -1e301])
def test_numbers_that_are_not_finite(value):
    with pytest.raises(BadInput, match="lr must be finite, got"):
        number(value, "lr")


def test_settings_may_be_numbers_of_numpy():
    given = dict(seed=np.int64(3), batch_size=np.int32(16), lr=np.float64(0.5), weight_decay=np.int8(0))
    given |= dict(cas=np.bool_(False), dataset=np.str_("mine"), epochs=np.uint16(7))
    plain = dict(seed=3, batch_size=16, lr=0.5, weight_decay=0, cas=False, dataset="mine", epochs=7)
    one, other = (ExperimentConfig.preset("quick", **settings) for settings in (given, plain))
    assert one == other and one.cell_folder("runs") == other.cell_folder("runs")
    assert json.dumps(vars(one)) == json.dumps(vars(other))
    assert {name: type(value) for name, value in vars(one).items()} == {n: type(v) for n, v in vars(other).items()}


@pytest.mark.parametrize("settings", [dict(epochs=np.float64(3)), dict(cas=np.int64(1)), dict(seed=np.bool_(True))])
def test_settings_of_another_kind_are_refused_all_the_same(settings):
    with pytest.raises(BadInput, match="must be"):
        ExperimentConfig.preset("quick", dataset="mine", **settings)


@pytest.mark.parametrize(("name", "value"), [("epochs", 10**30), ("lr", 10**400), ("dim", 10**20), ("seed", 2**80)])
def test_absurd_settings(name, value):
    with pytest.raises(BadInput, match=name):
        ExperimentConfig.preset("quick", dataset="mine", **{name: value})


def test_seeds_of_numpy_start_the_same_numbers():
    histories = []
    for seed in (5, np.int64(5)):
        torch.manual_seed(0)
        histories.append(train_fcn(FCN(2), SERIES.x_train, SERIES.y_train, epochs=1, batch_size=4, seed=seed))
    assert histories[0] == histories[1]


def test_sizes_of_numpy_are_saved(tmp_path):
    Tokenizer(np.int64(20), np.int64(1), dim=np.int64(4), n_blocks=1, codebook_size=np.int64(5)).save(tmp_path)
    assert Tokenizer.load(tmp_path).arguments["length"] == 20


# --- devices ---


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "mps:9", "meta", "", 3.5, "cpu:x"])
def test_devices_that_are_not_here(name, tmp_path):
    cfg = ExperimentConfig.preset("quick", dataset="mine")
    for use in (lambda: device(name), lambda: run_experiment(cfg, SERIES, tmp_path, device=name)):
        with pytest.raises(BadInput, match="no device .* here: choose one of cpu"):
            use()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a CUDA device")
def test_a_machine_without_a_gpu():
    assert device() == device("cpu") == device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(BadInput, match="no device 'cuda' here: choose one of cpu, or None"):
        device("cuda")


# --- trainings ---


def branch():
    return Branch(lambda x, generator=None: x, Projector(16, 8), lambda a, b: barlow_twins(a, b).total)


@pytest.mark.parametrize(("n", "batch_size"), [(8, 1), (1, 4)])
def test_a_batch_of_one_has_no_second_view_to_compare_with(n, batch_size):
    """Refused before anything is trained; without views it is trained."""
    tokenizer, x = Tokenizer(32, dim=8, n_blocks=1, codebook_size=5), torch.randn(n, 1, 32)
    before = {name: value.clone() for name, value in tokenizer.state_dict().items()}
    with pytest.raises(BadInput, match=f"batches of 2 or more series, got {n} series in batches of {batch_size}"):
        train_tokenizer(tokenizer, x, branch(), steps=1, batch_size=batch_size)
    assert all(torch.equal(value, before[name]) for name, value in tokenizer.state_dict().items())
    assert len(train_tokenizer(tokenizer, x, steps=1, batch_size=batch_size)) == 1
    with pytest.raises(BadInput, match="batch_size 1 with 'vibcreg'.*use 2 or more"):
        ExperimentConfig.preset("paper", dataset="mine", method="vibcreg", augmentation="warp", batch_size=1)
    assert ExperimentConfig.preset("paper", dataset="mine", batch_size=1).batch_size == 1


def test_a_remainder_of_one_is_no_batch_of_one():
    tokenizer_engine(Tokenizer(32, dim=8, n_blocks=1, codebook_size=5), torch.randn(5, 1, 32), branch(), batch_size=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(precision="fp16"), "unknown precision 'fp16': choose one of fp32, bf16"),
        (dict(seed="1"), "seed must be a whole number"),
        (dict(batch_size=2.0), "batch_size must be a whole number, got 2.0: write 2"),
        (dict(lr="fast"), "lr must be a number, got 'fast'"),
        (dict(loop=dict(on_epochs=print)), r"unknown name in loop 'on_epochs' \(did you mean on_epoch"),
        (dict(loop=3), "loop must be a dict with any of checkpoint"),
        (dict(y=torch.full((12,), 2)), "labels run from 2 to 2, expected 0 to 1"),
        (dict(y=torch.zeros(3, dtype=torch.int64)), r"12 series need labels of shape \(12,\), got \(3,\)"),
        (dict(x=torch.full((12, 1, 16), torch.nan)), "NaN or infinite values in 12 of 12 rows"),
        (dict(fcn="net"), "fcn must be a network"),
    ],
)
def test_a_training_refuses_before_it_starts(arguments, message):
    good = dict(fcn=FCN(2), x=torch.randn(12, 1, 16), y=torch.arange(12) % 2)
    with pytest.raises(BadInput, match=message):
        train_fcn(**good | arguments)


# --- memory ---


def exhausted(*arguments, **named):
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 8 TB")


def numpys_own():
    with pytest.raises(MemoryError) as raised:
        np.empty(2**62, dtype=np.int8)
    return raised.value


def test_kinds_of_exhaustion():
    for error in (MemoryError(), OutOfMemory(), torch.OutOfMemoryError(), numpys_own()):
        assert is_out_of_memory(type(error).__name__, str(error))
    assert not is_out_of_memory("RuntimeError", "shapes do not fit")


def test_exhausted_memory_is_one_sentence_with_advice(monkeypatch, tmp_path):
    """... from a function of Python; the command line has its own, with options; a campaign counts it as such."""
    monkeypatch.setattr(training_fcn, "fcn_engine", exhausted)
    with pytest.raises(OutOfMemory, match="^out of memory: free some.*smaller batches.*run again$") as told:
        train_fcn(FCN(2), SERIES.x_train, SERIES.y_train)
    assert isinstance(told.value, UserError) and isinstance(told.value, MemoryError)
    assert job.explain(told.value)[0] == state.OUT_OF_MEMORY
    monkeypatch.setattr(experiment, "make_cell", exhausted)
    with pytest.raises(OutOfMemory, match="^out of memory: free some"):
        run_experiment(ExperimentConfig.preset("quick", dataset="mine"), SERIES, tmp_path)


def test_exhausted_memory_on_the_command_line(monkeypatch, capsys):
    for error in (OutOfMemory("out of memory: x"), MemoryError(), numpys_own()):

        def fail(argv, error=error):
            raise error

        monkeypatch.setattr(cli, "_run", fail)
        assert cli.main(["replicate"]) == 4
        assert "out of memory: free some, or use smaller batches (--set batch_size=64" in capsys.readouterr().err


def test_other_errors_pass_unchanged():
    for error in (RuntimeError("shapes do not fit"), BadInput("a sentence"), KeyError("x")):
        with pytest.raises(type(error)) as raised, memory_advice():
            raise error
        assert raised.value is error
