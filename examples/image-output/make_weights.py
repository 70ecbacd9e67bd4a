"""Computes the sharpening kernel: `python make_weights.py` writes weights.npz (under 1 kB)."""

import os

import numpy as np

SIZE = 7


def make_weights(strength=1.5, sigma=1.5):
    """An unsharp mask as one kernel: the image plus `strength` times what a Gaussian blur takes away."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] - SIZE // 2
    blur = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    blur /= blur.sum()
    identity = (x == 0) & (y == 0)
    return {"kernel": ((1 + strength) * identity - strength * blur).astype(np.float32)}


if __name__ == "__main__":
    np.savez(os.path.join(os.path.dirname(os.path.abspath(__file__)), "weights.npz"), **make_weights())
