"""Fetching the thesis' feature nets: from a server of the test's own, whole and checked, or not at all."""

import contextlib
import http.server
import io
import os
import re
import socket
import threading

import pytest
import torch

from ncvqvae_lite import cli_fcn, fcn_fetch, fcn_weights
from ncvqvae_lite.cli import main
from ncvqvae_lite.errors import BadInput, NotFound, RunFolderError
from ncvqvae_lite.fcn import FCN
from ncvqvae_lite.fcn_fetch import fetch_weights
from ncvqvae_lite.lab.report.tables import thesis_fcn

NAMES = ("FordA", "Symbols", "Wafer")  # in the order of the thesis' list


class Server(http.server.ThreadingHTTPServer):
    """Answers /models/NAME.ckpt with answers[NAME]: bytes, or a function that is given the request; else with 404."""

    daemon_threads = True

    def __init__(self):
        self.answers, self.asked = {}, []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/models"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix("/models/").removesuffix(".ckpt")
        self.server.asked.append(name)
        answer = self.server.answers.get(name)
        if answer is None:
            self.send_error(404)
        elif callable(answer):
            answer(self)
        else:
            self.send(answer, len(answer))

    def send(self, content, promised=None):
        self.send_response(200)
        if promised is not None:
            self.send_header("Content-Length", str(promised))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def places(monkeypatch, tmp_path):
    """A cache and a folder for temporary files in which nothing but this test's files are."""
    monkeypatch.setenv("NCVQVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(fcn_fetch.tempfile, "tempdir", str(tmp_path / "temporary"))
    yield
    assert not os.listdir(tmp_path / "temporary")


def checkpoint(net, prefix="layers."):
    """The bytes of a checkpoint of a net, with names of another code's."""
    stream = io.BytesIO()
    torch.save({prefix + name: tensor for name, tensor in net.state_dict().items()}, stream)
    return stream.getvalue()


@pytest.fixture
def nets(server, monkeypatch):
    """Three small stand-ins for nets of the thesis, which the server has."""
    monkeypatch.delenv("NCVQVAE_FCN", raising=False)
    nets = {name: FCN(k).eval() for k, name in enumerate(NAMES, 2)}
    digests = {name: fcn_weights.net_digest(net) for name, net in nets.items()}
    for module in (fcn_weights, fcn_fetch, cli_fcn):
        monkeypatch.setattr(module, "THESIS_WEIGHTS", digests)
    server.answers = {name: checkpoint(net) for name, net in nets.items()}
    return nets


def fetch(server, *options):
    return main(["fcn", "fetch", "--mirror", server.url, *map(str, options)])


def test_all_are_fetched_to_where_replicate_looks(server, nets, tmp_path, capsys):
    assert fetch(server) == 0
    folder = tmp_path / "cache" / "fcn"
    assert capsys.readouterr().out.splitlines() == [f"{folder / name}.safetensors: fetched" for name in NAMES]
    assert sorted(os.listdir(folder)) == sorted(f"{name}.safetensors" for name in NAMES)
    for name, net in nets.items():
        file = fcn_weights.find_weights(name)
        assert file.parent == folder and fcn_weights.is_thesis_weights(file, name)
        net.save(tmp_path / "imported")
        assert file.read_bytes() == (tmp_path / "imported").read_bytes()  # the bytes that reports know by their hash


def test_only_some_are_fetched_to_a_folder_of_ones_own(server, nets, tmp_path, capsys):
    assert fetch(server, "--datasets", "Wafer", "--to", tmp_path / "here") == 0
    assert os.listdir(tmp_path / "here") == ["Wafer.safetensors"] and server.asked == ["Wafer"]
    assert f"NCVQVAE_FCN={tmp_path / 'here'}" in capsys.readouterr().out


def test_what_is_there_is_kept(server, nets, tmp_path, capsys):
    folder = tmp_path / "cache" / "fcn"
    nets["FordA"].save(folder / "FordA.safetensors")
    FCN(7).save(folder / "Wafer.safetensors")
    (folder / "Symbols.safetensors").write_text("damaged")
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()}
    assert fetch(server) == 0
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()} == before
    assert server.asked == []
    ford, symbols, wafer = capsys.readouterr().out.splitlines()
    assert ford.endswith("FordA.safetensors: kept, it was there (used by the thesis)")
    assert wafer.endswith("kept, it was there (others; delete it to fetch what the thesis used)")
    assert "unusable" in symbols and "delete it" in symbols


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def hostile():
    stream = io.BytesIO()
    torch.save({"weight": Hostile()}, stream)
    return stream.getvalue()


def whole():
    return checkpoint(FCN(3))


REFUSED = {  # what a server may answer -> how the error calls it
    "not found": (None, "HTTP Error 404: Not Found"),
    "no permission": (lambda request: request.send_error(403), "HTTP Error 403"),
    "a broken server": (lambda request: request.send_error(503), "HTTP Error 503"),
    "a proxy's page": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page"),
    "a Git-LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n",
        "a Git-LFS pointer",
    ),
    "half of it": (lambda request: request.send(whole()[:5000], len(whole())), "IncompleteRead.5000 bytes read"),
    "half of it, of unknown length": (lambda request: request.send(whole()[:5000]), "cut off.*5000 bytes"),
    "nothing": (b"", "0 bytes"),
    "text": (b"Moved.", "6 bytes"),
    "a checkpoint of something else": (checkpoint(torch.nn.Linear(2, 2)), "not a checkpoint of an FCN"),
    "a checkpoint with code": (hostile(), "not a checkpoint of an FCN"),
    "other weights": (whole(), "other weights than the thesis used .hash [0-9a-f]{12}, not [0-9a-f]{12}."),
    "no answer": (lambda request: request.connection.shutdown(socket.SHUT_RDWR), "closed connection|reset by peer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_the_net_is_refused_in_one_sentence_and_leaves_nothing(
    case, server, nets, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    answer, words = REFUSED[case]
    server.answers["Symbols"] = answer
    assert fetch(server) == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: ") and err.count("\n") == 1 and re.search(words, err), err
    assert f"{server.url}/Symbols.ckpt" in err
    folder = tmp_path / "cache" / "fcn"
    assert "saved_models/Symbols.ckpt of github.com/danelee2601/supervised-FCN at commit abc479c by hand" in err
    assert f"`ncvqvae fcn import Symbols.ckpt --to {folder}`" in err
    assert "FordA.safetensors: fetched" in out and os.listdir(folder) == ["FordA.safetensors"]  # it came before
    assert not (tmp_path / "ran").exists()

    server.answers["Symbols"] = checkpoint(nets["Symbols"])  # all is well again
    assert fetch(server) == 0
    assert len(os.listdir(folder)) == 3 and server.asked == ["FordA", "Symbols", "Symbols", "Wafer"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/models", "nowhere", "http://[x", "http://127.0.0.1:port", "http://ä/ä", ""]
)
def test_without_a_server_nothing_is_made(url, nets, tmp_path, monkeypatch):
    with pytest.raises(NotFound, match=r"cannot fetch .*FordA.ckpt \(.+\): get saved_models/FordA.ckpt of .* by hand"):
        fetch_weights("FordA", tmp_path / "new", url)
    assert not (tmp_path / "new").exists()


def test_a_server_that_hangs_is_given_up(server, nets, tmp_path, monkeypatch):
    monkeypatch.setattr(fcn_fetch, "TIMEOUT", 0.2)
    done = threading.Event()
    server.answers["FordA"] = lambda request: (request.send(b"PK", 5000), done.wait(10))
    with pytest.raises(NotFound, match="timed out"):
        fetch_weights("FordA", tmp_path / "new", server.url)
    done.set()
    assert not (tmp_path / "new").exists()


def test_a_stop_in_between_leaves_nothing_half(server, nets, tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fcn_fetch, "net_digest", stopped)
    with contextlib.suppress(KeyboardInterrupt):
        fetch_weights("FordA", tmp_path / "new", server.url)
    assert not (tmp_path / "new").exists()


def test_other_names_and_a_folder_that_is_none(server, nets, tmp_path):
    with pytest.raises(BadInput, match="no feature net of 'Ford', only of FordA, Symbols, Wafer"):
        fetch_weights("Ford", tmp_path, server.url)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="a part of that path is a file: choose another folder$"):
        fetch_weights("FordA", tmp_path / "file", server.url)


def test_without_a_mirror_the_public_repository_is_asked(nets, tmp_path, monkeypatch):
    asked = []

    def no_network(url, timeout):
        asked.append(url)
        raise OSError("Name or service not known")

    monkeypatch.setattr(fcn_fetch, "urlopen", no_network)
    assert main(["fcn", "fetch", "--datasets", "Wafer"]) == 2
    commit = "abc479c3fec3fdf6c677d848667ea5d50a001b2f"
    start = "https://raw.githubusercontent.com/danelee2601/supervised-FCN"
    assert asked == [f"{start}/{commit}/saved_models/Wafer.ckpt"]


def test_the_thirteen_of_the_thesis_are_fetched_as_they_are(server, reference_fcn, tmp_path):
    names = fcn_weights.THESIS_WEIGHTS
    server.answers = {name: checkpoint(FCN.load(reference_fcn(name))) for name in names}
    assert fetch(server, "--to", tmp_path / "fetched") == 0
    assert len(names) == 13
    for name, known in thesis_fcn().items():
        assert fcn_weights.file_hash(tmp_path / "fetched" / f"{name}.safetensors") in known["hashes"]
