"""Makes the network's weights: `python make_weights.py` writes weights.npz (33 kB)."""

import os

import numpy as np

GRID, UNITS = 32, 8


def make_weights(sharpness=4.0):
    """Each hidden unit looks for a bright spot at one place; the output adds up what they found."""
    y, x = np.mgrid[0:GRID, 0:GRID] / (GRID - 1.0)
    angles = np.linspace(0, 2 * np.pi, UNITS, endpoint=False)
    hidden = []
    for angle in angles:
        distance = np.hypot(y - 0.5 - 0.25 * np.sin(angle), x - 0.5 - 0.25 * np.cos(angle))
        spot = np.exp(-((distance * sharpness) ** 2))
        hidden.append((spot - spot.mean()).ravel() / np.linalg.norm(spot))
    return {
        "hidden": np.array(hidden, dtype=np.float32).T.copy(),
        "output": np.full((UNITS, 1), 1 / UNITS, dtype=np.float32),
    }


if __name__ == "__main__":
    np.savez(os.path.join(os.path.dirname(os.path.abspath(__file__)), "weights.npz"), **make_weights())
