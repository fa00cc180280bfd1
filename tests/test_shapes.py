"""Types of shapes: a call that breaks one fails in the tests; where the package is used nothing is loaded or checked.

What a function refuses by itself (BadInput) is tested beside the function. Here are wrong arguments that a function
expects to be right, and that its type alone tells.
"""

import importlib
import inspect
import os
import subprocess
import sys

import pytest
import torch

from ncvqvae_lite import augmentations, inference, prior, quantizer, residuals, ssl_losses, timefreq, tokenizer
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.family import contrast, decoder, game, masked, pairs, peel, pretexts, reduced

if not os.environ.get("NCVQVAE_TYPES"):
    pytest.skip("types are checked where NCVQVAE_TYPES is set, as `make test` does", allow_module_level=True)
from jaxtyping import TypeCheckError

ROOMS = (
    "timefreq quantizer ssl_losses ssl_losses_contrastive augmentations tokenizer prior residuals metrics fcn inference"
).split()
FAMILY = (
    "captions common contrast decoder expert few game loop masked pairs peel pretexts reduced scales scores svm tables "
    "views"
).split()
ARRAYS = {"x", "z", "u", "a", "b", "rows", "logits", "tokens", "codebook", "indices", "is_masked"}


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def whole(*shape):
    return torch.zeros(shape, dtype=torch.int64)


@pytest.fixture(scope="module")
def nets():
    small = tokenizer.Tokenizer(32, dim=4, n_blocks=1, codebook_size=5)
    transformer = prior.MaskGIT(small.n_tokens, 5, n_classes=2, dim=8, width=8, depth=1, heads=1)
    return small, transformer


WRONG = {  # name of a case -> what calls a function with one wrong argument, given tokenizer and prior
    "kmeans: whole numbers": lambda t, p: quantizer.kmeans(whole(9, 2), 3),
    "kmeans: three axes": lambda t, p: quantizer.kmeans(normal(9, 2, 2), 3),
    "sample_categorical: whole numbers": lambda t, p: quantizer.sample_categorical(whole(4, 3)),
    "distances: four axes": lambda t, p: t.quantizer.distances(normal(2, 4, 5, 2)),
    "undecided: rows": lambda t, p: t.quantizer.undecided(normal(2, 4)),
    "straight_through: whole numbers": lambda t, p: t.quantizer.straight_through(whole(2, 4, 5, 2)),
    "variance_hinge: one axis": lambda t, p: ssl_losses.variance_hinge(normal(4)),
    "covariance: three axes": lambda t, p: ssl_losses.covariance(normal(4, 3, 2)),
    "correlation: whole numbers": lambda t, p: ssl_losses.correlation(whole(4, 3)),
    "zero_tail: no channels": lambda t, p: augmentations.zero_tail(normal(4, 20)),
    "fold: latents of one axis less": lambda t, p: t.fold(normal(2, 5, 3)),
    "pool: series": lambda t, p: tokenizer.pool(normal(2, 4, 5)),
    "row_weights: one series": lambda t, p: tokenizer.row_weights(normal(1, 32), 8, 1.0),
    "naive_loss: an array": lambda t, p: tokenizer.naive_loss(t, normal(2, 1, 32).numpy()),
    "squared_errors: latents of other series": lambda t, p: tokenizer.squared_errors(
        t, normal(2, 1, 32), normal(3, 4, 5, 2)
    ),
    "non_contrastive_loss: views of another length": lambda t, p: tokenizer.non_contrastive_loss(
        t, None, None, normal(2, 1, 32), normal(2, 1, 31)
    ),
    "prior_loss: tokens that are no numbers of codes": lambda t, p: prior.prior_loss(
        p, normal(2, p.n_tokens), whole(2), torch.ones(2, p.n_tokens, dtype=torch.bool)
    ),
    "prior_loss: fewer classes": lambda t, p: prior.prior_loss(
        p, whole(2, p.n_tokens), whole(1), torch.ones(2, p.n_tokens, dtype=torch.bool)
    ),
    "prior_loss: a mask of numbers": lambda t, p: prior.prior_loss(
        p, whole(2, p.n_tokens), whole(2), whole(2, p.n_tokens)
    ),
    "ResidualPieces.of: no channels": lambda t, p: residuals.ResidualPieces.of(t, normal(3, 32)),
    "batched: an array": lambda t, p: inference.batched(t.features, normal(3, 1, 32).numpy()),
    "Block.forward: one series": lambda t, p: p.blocks[0](normal(4, 8)),
    "push: one vector": lambda t, p: contrast.Queue(4, 3, g=None).push(normal(3)),
    "AutoDecoder.error: codes of others": lambda t, p: decoder.AutoDecoder(normal(3, 2), 1, 16).error(
        normal(2, 2), normal(3, 1, 16)
    ),
    "generator_loss: fewer flips": lambda t, p: game.generator_loss(normal(3), normal(3, 4), whole(2)),
    "hidden_steps: numbers": lambda t, p: masked.hidden_steps(whole(2, 4), 4, 16),
    "zero_shot: classes of another width": lambda t, p: pairs.zero_shot(normal(4, 3), normal(2, 4)),
    "neighbour_views: rows": lambda t, p: peel.neighbour_views(normal(4, 16), whole(4, 2)),
    "flipped: no whole numbers": lambda t, p: pretexts.flipped(normal(2, 1, 16), normal(2)),
    "TSTCC.forward: views of other lengths": lambda t, p: reduced.TSTCC(8, g=None)(normal(2, 6, 8), normal(2, 5, 8)),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_breaks_the_type(nets, case):
    with pytest.raises(TypeCheckError, match=rf"parameters of [\w.]+{case.split(':')[0].split('.')[-1]}\."):
        WRONG[case](*nets)


def test_a_wrong_result_breaks_the_type():
    shorter = augmentations.Augmentation(lambda x, generator: x[..., :-1], "shorter", "black")
    with pytest.raises(TypeCheckError, match="return value"):
        shorter(normal(2, 1, 20))
    pieces = residuals.ResidualPieces(3, 1, 32, 5, 2, codebook_size=5)
    pieces.pieces = pieces.pieces.long()
    with pytest.raises(TypeCheckError, match="return value"):
        pieces.draw(whole(2, 10))


def test_what_a_function_can_convert_or_refuse_is_its_own_affair(nets):
    """`checked` and the functions themselves come first: arrays pass, and wrong ones are BadInput as ever."""
    small, transformer = nets
    x = normal(2, 1, 32)
    assert timefreq.stft(x.numpy()).shape == (2, 2, 5, 17)
    assert torch.equal(small.encode(x.double().numpy()), small.encode(x))
    for call in (
        lambda: timefreq.stft(x[0]),
        lambda: timefreq.istft(x, 32),
        lambda: small.encode(x[..., 1:]),
        lambda: small.decode(normal(2, small.n_tokens)),
        lambda: transformer(whole(2, 3), whole(2)),
        lambda: ssl_losses.vicreg(x[:, 0], x[:1, 0]),
    ):
        with pytest.raises(BadInput):
            call()


def functions_of(module):
    """Public functions of a module and public methods of its classes, as they stand in its source."""
    for name, value in vars(module).items():
        if getattr(value, "__module__", "") == module.__name__ and not name.startswith("_"):
            inner = vars(value).items() if inspect.isclass(value) else [(name, value)]
            for inner_name, function in inner:
                function = getattr(function, "fget", getattr(function, "__func__", function))
                if (
                    inspect.isfunction(function)
                    and function.__name__ == inner_name
                    and (inner_name in ("forward", "__call__") or inner_name[0] != "_")
                ):
                    yield f"{name}.{inner_name}", function


@pytest.mark.parametrize("room", [*ROOMS, *(f"family.{name}" for name in FAMILY)])
def test_public_functions_of_a_room_say_the_shapes_of_what_they_read(room):
    found = list(functions_of(importlib.import_module(f"ncvqvae_lite.{room}")))
    free = {"Momentum.forward", "Locked.forward", "two_sets.two_sets"}  # whatever goes through the net within, any rows
    silent = [
        (name, parameter.name)
        for name, function in found
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name in ARRAYS and parameter.annotation is parameter.empty and name not in free
    ]
    assert found and not silent


LOADED = """
import inspect, sys, typing
{first}
from ncvqvae_lite import {rooms}
hint = inspect.signature(ssl_losses.covariance).parameters["z"].annotation
print(hint, *(name for name in ("jaxtyping", "beartype") if name in sys.modules))
"""


def test_no_type_checker_is_loaded_where_the_package_is_used():
    def run(first):
        code = LOADED.format(first=first, rooms=", ".join(ROOMS))
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    assert run("") == 'Float[Tensor, "B D"]'
    assert run("import jaxtyping") == "<class 'jaxtyping.Float[Tensor, 'B D']'> jaxtyping"
