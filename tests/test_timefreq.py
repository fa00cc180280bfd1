"""stft and istft against torch's own transforms, DFT sums written as loops, and a least-squares solver."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncvqvae_lite.timefreq import istft, n_frames, stft

N_FFTS = (4, 8, 16)


def torch_stft(x, n_fft):
    """torch.stft per series, real parts then imaginary parts."""
    batch, channels, length = x.shape
    window = torch.hann_window(n_fft, dtype=x.dtype)
    u = torch.stft(x.reshape(-1, length), n_fft, n_fft // 4, window=window, return_complex=True)  # (B*C, F, W)
    u = u.reshape(batch, channels, *u.shape[1:])
    return torch.cat([u.real, u.imag], dim=1)


def torch_istft(u, length, n_fft):
    batch, channels, rows, frames = u.shape
    z = torch.complex(*u.chunk(2, dim=1)).reshape(-1, rows, frames)
    x = torch.istft(z, n_fft, n_fft // 4, window=torch.hann_window(n_fft, dtype=u.dtype), length=length)
    return x.reshape(batch, channels // 2, length)


def hann(n_fft):
    return np.array([0.5 - 0.5 * math.cos(2 * math.pi * n / n_fft) for n in range(n_fft)])


def stft_loops(series, n_fft):
    """One series (L,) -> complex (F, W), by the definition of the discrete Fourier transform."""
    window, hop, length = hann(n_fft), n_fft // 4, len(series)
    spectrum = np.zeros((n_fft // 2 + 1, length // hop + 1), dtype=complex)
    for f in range(n_fft // 2 + 1):
        for w in range(length // hop + 1):
            for n in range(n_fft):
                step = abs(w * hop + n - n_fft // 2)  # frame w is centred on step w * hop; ends are reflected
                step = step if step < length else 2 * (length - 1) - step
                spectrum[f, w] += series[step] * window[n] * np.exp(-2j * math.pi * f * n / n_fft)
    return spectrum


class TestStft:
    @pytest.mark.parametrize("n_fft", N_FFTS)
    @pytest.mark.parametrize(("channels", "length"), [(1, 16), (3, 17), (2, 24)])
    def test_equals_loops(self, n_fft, channels, length):
        x = torch.randn(2, channels, length, dtype=torch.float64)
        u = stft(x, n_fft).numpy()
        assert u.shape == (2, 2 * channels, n_fft // 2 + 1, length // (n_fft // 4) + 1)
        for b in range(2):
            for c in range(channels):
                expected = stft_loops(x[b, c].numpy(), n_fft)
                np.testing.assert_allclose(u[b, c], expected.real, atol=1e-12)
                np.testing.assert_allclose(u[b, channels + c], expected.imag, atol=1e-12)

    @settings(max_examples=40, deadline=None)
    @given(
        length=st.integers(16, 130),
        channels=st.integers(1, 3),
        batch=st.integers(1, 4),
        n_fft=st.sampled_from((4, 8, 12, 16, 28)),
        seed=st.integers(0, 1000),
    )
    def test_equals_torch(self, length, channels, batch, n_fft, seed):
        x = torch.randn(batch, channels, length, generator=torch.Generator().manual_seed(seed))
        u = stft(x, n_fft)
        assert u.shape[-1] == n_frames(length, n_fft)
        torch.testing.assert_close(u, torch_stft(x, n_fft), atol=1e-5, rtol=1e-5)

    def test_a_sine_fills_its_row(self):
        """A sine of 2 cycles in 8 steps: magnitude sum(window) / 2 = 2 in row 2, half of it in rows 1 and 3."""
        u = stft(torch.sin(2 * math.pi * 2 / 8 * torch.arange(64.0) + 0.3)[None, None])
        magnitude = (u[0, 0] ** 2 + u[0, 1] ** 2).sqrt()[:, 3:-3]
        torch.testing.assert_close(magnitude[2], torch.full_like(magnitude[2], 2.0), atol=1e-5, rtol=0)
        torch.testing.assert_close(magnitude[[1, 3]], torch.full_like(magnitude[[1, 3]], 1.0), atol=1e-5, rtol=0)
        assert magnitude[[0, 4]].max() < 1e-5

    def test_white_noise_has_energy_three(self, generator):
        """E|STFT|^2 = sum of the squared window = 3 at n_fft 8, in every row; frames at reflected ends aside."""
        u = stft(torch.randn(400, 1, 256, generator=generator))
        energy = (u[:, 0] ** 2 + u[:, 1] ** 2)[:, :, 2:-2].mean(dim=(0, 2))  # (F,)
        assert (hann(8) ** 2).sum() == pytest.approx(3)
        torch.testing.assert_close(energy, torch.full((5,), 3.0), atol=0.08, rtol=0)

    def test_is_linear_and_per_channel(self):
        x, y = torch.randn(2, 3, 33), torch.randn(2, 3, 33)
        torch.testing.assert_close(stft(2 * x - y), 2 * stft(x) - stft(y))
        torch.testing.assert_close(stft(x)[:, [1, 4]], stft(x[:, 1:2]))

    def test_gradient(self):
        x = torch.randn(1, 2, 17, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(stft, x)

    @pytest.mark.parametrize("n_fft", [0, 2, 6, 9, -8])
    def test_refuses_n_fft(self, n_fft):
        with pytest.raises(ValueError, match=f"multiple of 4.*got {n_fft}"):
            stft(torch.zeros(1, 1, 64), n_fft)
        with pytest.raises(ValueError, match=f"multiple of 4.*got {n_fft}"):
            istft(torch.zeros(1, 2, 5, 9), 16, n_fft)

    @pytest.mark.parametrize("shape", [(64,), (2, 64), (1, 2, 3, 64)])
    def test_refuses_other_shapes(self, shape):
        with pytest.raises(ValueError, match=r"\(B, C, L\)"):
            stft(torch.zeros(shape))

    def test_refuses_short_series(self):
        assert stft(torch.zeros(1, 1, 5)).shape == (1, 2, 5, 3)
        with pytest.raises(ValueError, match="series of 4 steps are too short for n_fft 8"):
            stft(torch.zeros(1, 1, 4))


def least_squares_istft(pieces, window, hop):
    """The series whose windowed frames come closest to `pieces` (W, n_fft), found by a general solver."""
    frames, n_fft = pieces.shape
    framing = np.zeros((frames, n_fft, n_fft + hop * (frames - 1)))
    for w in range(frames):
        for n in range(n_fft):
            framing[w, n, w * hop + n] = window[n]
    return np.linalg.lstsq(framing.reshape(frames * n_fft, -1), pieces.reshape(-1), rcond=None)[0]


class TestIstft:
    @settings(max_examples=40, deadline=None)
    @given(
        length=st.integers(16, 130),
        channels=st.integers(1, 3),
        n_fft=st.sampled_from(N_FFTS),
        seed=st.integers(0, 1000),
    )
    def test_round_trip(self, length, channels, n_fft, seed):
        x = torch.randn(2, channels, length, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(istft(stft(x, n_fft), length, n_fft), x, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("length", [500, 945, 1024])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_round_trip_at_lengths_of_the_archive(self, length, channels):
        x = torch.randn(4, channels, length)
        torch.testing.assert_close(istft(stft(x), length), x, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("name", ["SonyAIBORobotSurface2", "ECG5000"])
    def test_round_trip_of_real_series(self, real_data, name):
        x = real_data(name).x_train[:50]
        torch.testing.assert_close(istft(stft(x), x.shape[-1]), x, atol=1e-5, rtol=0)

    @settings(max_examples=40, deadline=None)
    @given(
        frames=st.integers(5, 60),
        channels=st.integers(1, 3),
        n_fft=st.sampled_from(N_FFTS),
        extra=st.integers(0, 3),
        seed=st.integers(0, 1000),
    )
    def test_any_spectrogram_as_torch_does(self, frames, channels, n_fft, extra, seed):
        """A decoder's output is the STFT of no series; imaginary parts of the first and last row count for nothing."""
        u = torch.randn(2, 2 * channels, n_fft // 2 + 1, frames, generator=torch.Generator().manual_seed(seed))
        hop = n_fft // 4
        length = hop * (frames - 1) + extra % hop
        torch.testing.assert_close(istft(u, length, n_fft), torch_istft(u, length, n_fft), atol=2e-5, rtol=1e-4)

    @pytest.mark.parametrize("n_fft", N_FFTS)
    def test_is_the_least_squares_series(self, n_fft):
        """Griffin and Lim (1984): no other series has a spectrogram closer to the given one."""
        hop, frames, rows = n_fft // 4, 9, n_fft // 2 + 1
        u = torch.randn(1, 2, rows, frames, dtype=torch.float64)
        z = (u[0, 0] + 1j * u[0, 1]).numpy()
        pieces = np.zeros((frames, n_fft))
        for w in range(frames):
            for n in range(n_fft):
                for f in range(rows):
                    twice = 1 if f in (0, n_fft // 2) else 2  # rows between have a mirror image
                    pieces[w, n] += twice * (z[f, w] * np.exp(2j * math.pi * f * n / n_fft)).real / n_fft
        length = hop * frames - 1
        expected = least_squares_istft(pieces, hann(n_fft), hop)[n_fft // 2 : n_fft // 2 + length]
        np.testing.assert_allclose(istft(u, length, n_fft)[0, 0].numpy(), expected, atol=1e-10)

    def test_without_the_last_odd_sample(self):
        """The reference asks for 2 floor(L/2) samples (Q12): the same series, one sample shorter."""
        x = torch.randn(2, 1, 65)
        torch.testing.assert_close(istft(stft(x), 64), x[..., :64], atol=1e-5, rtol=0)

    def test_gradient(self):
        u = torch.randn(1, 2, 5, 7, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda u: istft(u, 13), u)

    def test_keeps_dtype(self):
        for dtype in (torch.float32, torch.float64):
            x = torch.randn(1, 1, 20, dtype=dtype)
            assert stft(x).dtype == dtype and istft(stft(x), 20).dtype == dtype

    @pytest.mark.parametrize("shape", [(1, 2, 4, 9), (1, 3, 5, 9), (1, 2, 9, 9)])
    def test_refuses_other_spectrograms(self, shape):
        with pytest.raises(ValueError, match=r"expected a spectrogram \(B, 2C, 5, W\) for n_fft 8"):
            istft(torch.zeros(shape), 16)

    @pytest.mark.parametrize(("length", "n_fft"), [(0, 8), (-1, 8), (18, 8), (36, 16)])
    def test_refuses_lengths_that_frames_do_not_cover(self, length, n_fft):
        u = torch.zeros(1, 2, n_fft // 2 + 1, 9)
        with pytest.raises(ValueError, match=f"give 1 to {9 * n_fft // 4 - 1} samples, not {length}"):
            istft(u, length, n_fft)


def test_n_frames():
    assert [n_frames(length) for length in (16, 17, 65, 128, 945, 1024)] == [9, 9, 33, 65, 473, 513]
    assert n_frames(64, n_fft=32) == 9
