"""Residual pieces against residuals that are cut and sorted by hand."""

import itertools

import pytest
import torch

from ncvqvae_lite.residuals import ResidualPieces
from ncvqvae_lite.tokenizer import FoldTokenizer, Tokenizer

SMALL = dict(dim=8, n_blocks=1, codebook_size=6)


@pytest.mark.parametrize("kind", [Tokenizer, FoldTokenizer])
@pytest.mark.parametrize(("channels", "length"), [(1, 32), (2, 33), (1, 65), (1, 70)])
def test_every_piece_is_one_of_its_code_and_place_in_a_train_series(kind, channels, length):
    tokenizer, x = kind(length, channels, **SMALL).eval(), torch.randn(20, channels, length)
    pieces = ResidualPieces.of(tokenizer, x)
    rows, frames = tokenizer.grid
    edges = [round(place * length / frames) for place in range(frames + 1)]
    longest = max(end - first for first, end in itertools.pairwise(edges))
    tokens = tokenizer.encode(x)
    residuals = x - tokenizer.decode(tokens)
    codes = tokens.view(20, rows, frames)[:, 0]
    known = {code: [] for code in range(6)}  # code -> its pieces, cut one at a time
    for series in range(20):
        for frame in range(frames):
            first = min(edges[frame], length - longest)
            known[int(codes[series, frame])].append(residuals[series, :, first : first + longest])
    assert pieces.counts.tolist() == [len(known[code]) for code in range(6)]
    drawn = pieces.draw(tokens[:5], torch.Generator().manual_seed(0))
    assert drawn.shape == (5, channels, length)
    for series in range(5):
        for frame in range(frames):
            part = drawn[series, :, edges[frame] : edges[frame + 1]]
            candidates = known[int(codes[series, frame])]
            assert any(torch.allclose(part, c[:, : part.shape[1]], atol=1e-6) for c in candidates)


def test_all_pieces_of_a_code_are_drawn_alike():
    pieces = ResidualPieces(4, 1, 4, 1, 1, 3)  # four series of one token
    pieces.pieces.copy_(torch.arange(4.0)[:, None, None].expand(4, 1, 4))
    pieces.counts.copy_(torch.tensor([3, 1, 0]))
    drawn = pieces.draw(torch.zeros(6000, 1, dtype=torch.int64), torch.Generator().manual_seed(0))[:, 0, 0]
    shares = torch.bincount(drawn.long(), minlength=4) / 6000
    assert shares[3] == 0 and (shares[:3] - 1 / 3).abs().max() < 0.03
    assert (pieces.draw(torch.ones(50, 1, dtype=torch.int64)) == 3).all()
    of_any = pieces.draw(torch.full((6000, 1), 2), torch.Generator().manual_seed(0))[:, 0, 0]
    assert (torch.bincount(of_any.long(), minlength=4) / 6000 - 1 / 4).abs().max() < 0.03


@pytest.mark.parametrize("length", [64, 65, 70, 140])
def test_white_noise_that_no_token_holds_comes_back(length):
    """A tokenizer that gives zeros leaves everything over: what is drawn has their deviation at every step."""

    class Silent(FoldTokenizer):
        def decode(self, tokens):
            return torch.zeros(len(tokens), self.channels, self.length)

    tokenizer = Silent(length, 1, **SMALL).eval()
    x = 3 * torch.randn(400, 1, length)
    drawn = ResidualPieces.of(tokenizer, x).draw(tokenizer.encode(x))
    assert drawn.std().item() == pytest.approx(3, rel=0.05)
    assert drawn.std(dim=0).min() > 2.4 and not torch.allclose(drawn, x)


def test_save_and_load_are_exact(tmp_path):
    tokenizer, x = FoldTokenizer(33, 2, **SMALL).eval(), torch.randn(9, 2, 33)
    pieces = ResidualPieces.of(tokenizer, x)
    pieces.save(tmp_path)
    one, other = (
        p.draw(tokenizer.encode(x), torch.Generator().manual_seed(1)) for p in (pieces, ResidualPieces.load(tmp_path))
    )
    assert torch.equal(one, other)
