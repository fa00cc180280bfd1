"""The FCN against explicit loops, its weight files, and the import of checkpoints from elsewhere."""

import os
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ncvqvae_lite.errors import BadInput, NotFound, RunFolderError
from ncvqvae_lite.fcn import FCN, batched, eval_mode
from ncvqvae_lite.fcn_import import import_checkpoint
from ncvqvae_lite.fcn_weights import file_hash, weights_digest


def small_weights_fcn(n_classes=3, channels=1, **how):
    """An eval-mode FCN whose batch norms are not the identity."""
    net = FCN(n_classes, channels=channels, **how)
    with torch.no_grad():
        for norm in (net.norm1, net.norm2, net.norm3):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
    return net.eval()


def features_by_loops(weights, x, dilation=(1, 1, 1)):
    """One series (C, L) -> (128,), in float64 numpy: correlate, normalise, cut at zero, step by step."""
    w = {name: t.detach().double().numpy() for name, t in weights.items()}
    h = x
    for number, kernel, apart in zip((1, 2, 3), (8, 5, 3), dilation, strict=True):
        left, length = (kernel - 1) // 2, h.shape[1]
        out = np.zeros((len(w[f"conv{number}.bias"]), length))
        for t in range(length):
            for tap in range(kernel):
                step = t + (tap - left) * apart
                if 0 <= step < length:
                    out[:, t] += w[f"conv{number}.weight"][:, :, tap] @ h[:, step]
        out += w[f"conv{number}.bias"][:, None]
        mean, var = w[f"norm{number}.running_mean"], w[f"norm{number}.running_var"]
        out = (out - mean[:, None]) / np.sqrt(var[:, None] + 1e-5)
        h = np.maximum(out * w[f"norm{number}.weight"][:, None] + w[f"norm{number}.bias"][:, None], 0)
    return h.mean(axis=1)


@pytest.mark.parametrize(("n_classes", "expected"), [(2, 264_962), (60, 272_444)])
def test_number_of_parameters(n_classes, expected):
    assert sum(p.numel() for p in FCN(n_classes).parameters()) == expected


@settings(max_examples=8, deadline=None)
@given(channels=st.integers(1, 3), length=st.integers(1, 13), n_classes=st.integers(2, 4))
def test_equals_loops_in_float64(channels, length, n_classes):
    net = small_weights_fcn(n_classes, channels)
    x = torch.randn(2, channels, length)
    expected = np.stack([features_by_loops(net.state_dict(), series.double().numpy()) for series in x])
    torch.testing.assert_close(net.features(x).double(), torch.tensor(expected), rtol=1e-4, atol=1e-5)

    logits = expected @ net.head.weight.detach().double().numpy().T + net.head.bias.detach().double().numpy()
    torch.testing.assert_close(net(x).double(), torch.tensor(logits), rtol=1e-4, atol=1e-5)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    torch.testing.assert_close(net.probabilities(x).double(), torch.tensor(softmax), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dilation", [(1, 8, 40), (3, 1, 2), [1, 4, 16]])
def test_dilated_equals_loops_in_float64(dilation):
    net, x = small_weights_fcn(dilation=dilation), torch.randn(1, 1, 45)
    expected = features_by_loops(net.state_dict(), x[0].double().numpy(), dilation)
    torch.testing.assert_close(net.features(x)[0].double(), torch.tensor(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("dilation", "seen"), [((1, 1, 1), 14), ((1, 4, 16), 56), ((1, 8, 40), 120)])
def test_a_feature_sees_as_many_steps_as_the_docstring_says(dilation, seen):
    """Counted by gradients of the last maps at one step, with ReLUs that let everything through."""
    net, x = FCN(2, dilation=dilation).eval(), torch.randn(1, 1, 301, requires_grad=True)
    for norm in (net.norm1, net.norm2, net.norm3):
        torch.nn.init.constant_(norm.bias, 100.0)
    maps = []
    net.norm3.register_forward_hook(lambda module, inputs, output: maps.append(output))
    net(x)
    maps[0][..., 150].sum().backward()
    steps = x.grad[0, 0].nonzero()
    assert steps.max() - steps.min() + 1 == seen


@pytest.mark.parametrize("dilation", [(1, 1), (1, 0, 1), (1, 1.0, 1), 8])
def test_refuses_other_dilations(dilation):
    with pytest.raises(BadInput, match="three dilations, whole numbers of 1 or more"):
        FCN(2, dilation=dilation)


@pytest.mark.parametrize("shape", [(4, 20), (4, 2, 20), (4, 1, 0)])
def test_refuses_other_shapes(shape):
    with pytest.raises(BadInput, match="expected series of shape"):
        FCN(2).features(torch.zeros(shape))


def test_refuses_one_class():
    with pytest.raises(BadInput, match="2 or more classes"):
        FCN(1)


def test_pooled_features_are_those_of_the_mode_of_the_net():
    net, x = FCN(2), torch.randn(8, 1, 16)
    in_train_mode = net.pooled(x)
    assert net.training and net.norm1.running_mean.abs().sum() > 0
    in_eval_mode = net.eval().pooled(x)
    assert not torch.allclose(in_train_mode, in_eval_mode)
    assert torch.equal(net.train().features(x), in_eval_mode)


class TestBatched:
    def test_equals_one_pass_and_restores_each_part(self):
        net = small_weights_fcn().train()
        net.norm2.eval()  # a frozen part
        before = {name: t.clone() for name, t in net.state_dict().items()}
        x = torch.randn(10, 1, 20)
        result = batched(net.features, x, batch_size=4)
        assert result.shape == (10, 128) and not result.requires_grad
        assert net.training and net.norm1.training and not net.norm2.training
        assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())
        torch.testing.assert_close(result, net.eval().features(x).detach())
        assert torch.equal(batched(net, x), net(x).detach())

    def test_mode_is_restored_after_an_error(self):
        net = FCN(2).train()
        with pytest.raises(RuntimeError, match="stop"), eval_mode(net):
            assert not net.norm1.training
            raise RuntimeError("stop")
        assert net.training and net.norm1.training


class TestFiles:
    def test_round_trip(self, tmp_path):
        net, x = small_weights_fcn(5, channels=2).train(), torch.randn(3, 2, 30)
        net.save(tmp_path / "new" / "fcn.safetensors")
        state = torch.get_rng_state()
        loaded = FCN.load(tmp_path / "new" / "fcn.safetensors")
        assert torch.equal(state, torch.get_rng_state())  # loading draws nothing from the global stream
        assert not loaded.training and (loaded.n_classes, loaded.channels) == (5, 2)
        assert torch.equal(loaded(x), net.eval()(x))
        assert os.listdir(tmp_path / "new") == ["fcn.safetensors"]  # no temporary file is left

    def test_dilations_are_kept_and_tell_files_apart(self, tmp_path):
        net, x = small_weights_fcn(dilation=(1, 8, 40)), torch.randn(3, 1, 60)
        plain = FCN(3)
        plain.load_state_dict(net.state_dict())
        for name, each in (("dilated", net), ("plain", plain.eval())):
            each.save(tmp_path / name)
            loaded = FCN.load(tmp_path / name)
            assert loaded.dilation == each.dilation and torch.equal(loaded(x), each(x))
        assert not torch.equal(net(x), plain(x))  # the same tensors, another net
        assert weights_digest(tmp_path / "dilated") != weights_digest(tmp_path / "plain")
        assert file_hash(tmp_path / "dilated") != file_hash(tmp_path / "plain")

    def test_without_dilations_a_file_is_the_tensors_alone(self, tmp_path):
        net = small_weights_fcn()
        net.save(tmp_path / "fcn")
        save_file({n: t for n, t in net.state_dict().items() if "num_batches" not in n}, tmp_path / "tensors")
        assert (tmp_path / "fcn").read_bytes() == (tmp_path / "tensors").read_bytes()

    @pytest.mark.parametrize(
        ("text", "message"), [("1 8", "not a readable"), ("[1, 8]", "three dilations"), ("7", "three dilations")]
    )
    def test_damaged_dilations(self, tmp_path, text, message):
        weights = {n: t for n, t in small_weights_fcn().state_dict().items() if "num_batches" not in n}
        save_file(weights, tmp_path / "fcn", metadata={"dilation": text})
        with pytest.raises(BadInput, match=message):
            FCN.load(tmp_path / "fcn")

    def test_names_are_those_of_the_reference_files(self, tmp_path):
        small_weights_fcn().save(tmp_path / "fcn.safetensors")
        layers = {"conv": ("weight", "bias"), "norm": ("weight", "bias", "running_mean", "running_var")}
        names = {f"{kind}{i}.{leaf}" for kind, leaves in layers.items() for leaf in leaves for i in (1, 2, 3)}
        assert set(load_file(tmp_path / "fcn.safetensors")) == names | {"head.weight", "head.bias"}

    def test_hash_follows_the_content(self, tmp_path):
        net = small_weights_fcn()
        net.save(tmp_path / "a")
        net.save(tmp_path / "b")
        with torch.no_grad():
            net.head.bias[0] += 1
        net.save(tmp_path / "c")
        a, b, c = (file_hash(tmp_path / name) for name in "abc")
        assert a == b != c and len(a) == 12

    def test_a_failed_write_keeps_the_old_file(self, tmp_path, monkeypatch):
        net = small_weights_fcn()
        net.save(tmp_path / "fcn.safetensors")
        before = file_hash(tmp_path / "fcn.safetensors")

        def full_disk(source, target):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full_disk)
        with torch.no_grad():
            net.head.bias[0] += 1
        with pytest.raises(RunFolderError, match="the disk is full"):
            net.save(tmp_path / "fcn.safetensors")
        assert file_hash(tmp_path / "fcn.safetensors") == before
        assert os.listdir(tmp_path) == ["fcn.safetensors"]

    def test_missing_file(self, tmp_path):
        with pytest.raises(NotFound, match="no FCN weights"):
            FCN.load(tmp_path / "none.safetensors")

    def test_corrupt_file(self, tmp_path):
        small_weights_fcn().save(tmp_path / "fcn.safetensors")
        content = (tmp_path / "fcn.safetensors").read_bytes()
        for damaged in (content[:-10], content[:4], b"", b"not a weight file"):
            (tmp_path / "bad.safetensors").write_bytes(damaged)
            with pytest.raises(BadInput, match="not a readable safetensors file"):
                FCN.load(tmp_path / "bad.safetensors")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda w: w.pop("conv1.weight"), "holds no FCN"),
            (lambda w: w.pop("norm2.running_var"), "norm2.running_var should be"),
            (lambda w: w.update(extra=torch.zeros(1)), "extra should be no such tensor"),
            (lambda w: w.update({"conv2.bias": torch.zeros(7)}), "conv2.bias should be"),
            (lambda w: w.update({"head.bias": torch.tensor([0.0, torch.nan, 1.0])}), "NaN"),
            (lambda w: w.update({"head.bias": torch.zeros(3, dtype=torch.int32)}), "integer"),
            (lambda w: w.update({"head.weight": torch.zeros(1, 128)}), "holds no FCN"),
        ],
    )
    def test_wrong_tensors(self, tmp_path, change, message):
        weights = {n: t for n, t in small_weights_fcn().state_dict().items() if "num_batches" not in n}
        change(weights)
        save_file(weights, tmp_path / "fcn.safetensors")
        with pytest.raises(BadInput, match=message):
            FCN.load(tmp_path / "fcn.safetensors")


def checkpoint_of(net, prefix=""):
    """The net's weights under the nested names that the public checkpoints use."""
    names = {f"conv{i}": f"layers.{i - 1}.layers.0" for i in (1, 2, 3)}
    names |= {f"norm{i}": f"layers.{i - 1}.layers.1" for i in (1, 2, 3)} | {"head": "final"}
    return {f"{prefix}{names[n.split('.')[0]]}.{n.split('.')[1]}": t for n, t in net.state_dict().items()}


class Attack:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


class TestImport:
    @pytest.mark.parametrize("kind", ["state dict", "Lightning"])
    def test_round_trip(self, tmp_path, kind):
        net = small_weights_fcn(4, channels=2)
        content = checkpoint_of(net)
        if kind == "Lightning":
            state = checkpoint_of(net, "fcn.")
            content = {"epoch": 999, "state_dict": state, "optimizer_states": [{"step": torch.tensor(3.0)}]}
        torch.save(content, tmp_path / "Toy.ckpt")
        assert import_checkpoint(tmp_path / "Toy.ckpt", tmp_path / "out") == [tmp_path / "out" / "Toy.safetensors"]
        loaded = FCN.load(tmp_path / "out" / "Toy.safetensors").state_dict()
        for name, tensor in net.state_dict().items():
            assert torch.equal(loaded[name], tensor), name

    def test_folder(self, tmp_path):
        nets = {"B": small_weights_fcn(2), "A": small_weights_fcn(3)}
        for name, net in nets.items():
            torch.save(checkpoint_of(net), tmp_path / f"{name}.ckpt")
        written = import_checkpoint(tmp_path, tmp_path / "out")
        assert [file.name for file in written] == ["A.safetensors", "B.safetensors"]
        assert [FCN.load(file).n_classes for file in written] == [3, 2]

    def test_a_folder_with_one_misfit_writes_nothing(self, tmp_path):
        torch.save(checkpoint_of(small_weights_fcn()), tmp_path / "A.ckpt")
        torch.save({"weight": torch.zeros(3, 3)}, tmp_path / "B.ckpt")
        with pytest.raises(BadInput, match="B.ckpt"):
            import_checkpoint(tmp_path, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_reference_weights_survive_unchanged(self, tmp_path, reference_fcn):
        net = FCN.load(reference_fcn("SonyAIBORobotSurface2"))
        torch.save(checkpoint_of(net), tmp_path / "S.ckpt")
        [file] = import_checkpoint(tmp_path / "S.ckpt", tmp_path)
        ours, theirs = load_file(file), load_file(reference_fcn("SonyAIBORobotSurface2"))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)

    @pytest.mark.parametrize("where", ["whole file", "hyper-parameter"])
    def test_pickled_code_is_refused_and_never_runs(self, tmp_path, where):
        attack = Attack(tmp_path / "owned")
        if where == "whole file":
            (tmp_path / "bad.ckpt").write_bytes(pickle.dumps(attack))
        else:
            torch.save({"state_dict": checkpoint_of(FCN(2)), "hyper_parameters": attack}, tmp_path / "bad.ckpt")
        with pytest.raises(BadInput, match="never unpickled"):
            import_checkpoint(tmp_path / "bad.ckpt", tmp_path / "out")
        assert sorted(os.listdir(tmp_path)) == ["bad.ckpt"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (torch.zeros(3), "no state dict"),
            ({"lr": 0.1}, "no state dict"),
            ({}, "expected 3 convolutions"),
            ({n: t for n, t in checkpoint_of(FCN(2)).items() if "final" not in n}, "expected 3 convolutions"),
            (checkpoint_of(FCN(2)) | {"final2.weight": torch.zeros(2, 128)}, "expected 3 convolutions"),
            (checkpoint_of(FCN(2)) | {"layers.1.layers.0.weight": torch.zeros(256, 128, 3)}, "conv2.weight should be"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, tmp_path, content, message):
        torch.save(content, tmp_path / "bad.ckpt")
        with pytest.raises(BadInput, match=message):
            import_checkpoint(tmp_path / "bad.ckpt", tmp_path / "out")

    def test_truncated_file(self, tmp_path):
        torch.save(checkpoint_of(FCN(2)), tmp_path / "a.ckpt")
        (tmp_path / "a.ckpt").write_bytes((tmp_path / "a.ckpt").read_bytes()[:5000])
        with pytest.raises(BadInput, match="damaged"):
            import_checkpoint(tmp_path / "a.ckpt", tmp_path)

    def test_nothing_there(self, tmp_path):
        for source in (tmp_path, tmp_path / "none.ckpt"):
            with pytest.raises(NotFound, match="no checkpoint"):
                import_checkpoint(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "accuracy"), [("SonyAIBORobotSurface2", 0.975), ("ECG5000", 0.999), ("SonyAIBORobotSurface1", 0.950)]
)
def test_reference_weights_classify_real_series(real_data, reference_fcn, name, accuracy):
    """All train series and the stated share of the first 2,000 test series: the net is wired as the reference's."""
    data, net = real_data(name), FCN.load(reference_fcn(name))
    mean, std = data.x_train.double().mean().float(), data.x_train.double().std(correction=0).float()
    for x, y, expected in ((data.x_train, data.y_train, 1.0), (data.x_test[:2000], data.y_test[:2000], accuracy)):
        predicted = batched(net, (x - mean) / std).argmax(dim=1)
        assert (predicted == y).double().mean().item() == pytest.approx(expected, abs=0.0006)
