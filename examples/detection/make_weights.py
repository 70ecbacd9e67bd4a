"""Averages synthetic nodules into a template: `python make_weights.py` writes weights.npz (2 kB)."""

import os

import numpy as np

SIZE = 15


def make_weights():
    """The mean of noisy nodules of several widths; 0.5 is the correlation that counts as found."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[0:SIZE, 0:SIZE] - SIZE // 2
    widths = generator.uniform(2.0, 4.5, 200)
    nodules = np.exp(-(x**2 + y**2) / (2 * widths[:, None, None] ** 2))
    nodules += generator.normal(0, 0.1, nodules.shape)
    return {"template": nodules.mean(axis=0).astype(np.float32), "threshold": np.float32(0.5)}


if __name__ == "__main__":
    np.savez(os.path.join(os.path.dirname(os.path.abspath(__file__)), "weights.npz"), **make_weights())
