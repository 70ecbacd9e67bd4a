"""Fits one Gaussian a tissue to synthetic Hounsfield values: `python make_weights.py` writes weights.json."""

import json
import os

import numpy as np

# Typical Hounsfield values, from which the training pixels are drawn: (mean, deviation).
TISSUES = {
    "air": (-1000, 25),
    "lung": (-780, 90),
    "fat": (-95, 25),
    "soft tissue": (45, 35),
    "bone": (550, 250),
}


def make_weights(count=2000, rounds=50):
    """Expectation maximisation on the mixed pixels, started at the tissues' typical values."""
    generator = np.random.default_rng(0)
    pixels = np.concatenate([generator.normal(*tissue, count) for tissue in TISSUES.values()])
    mean, deviation = np.array(list(TISSUES.values()), dtype=float).T
    for _ in range(rounds):
        likelihood = np.exp(-(((pixels[:, None] - mean) / deviation) ** 2) / 2) / deviation
        share = likelihood / likelihood.sum(axis=1, keepdims=True)
        mean = (share * pixels[:, None]).sum(axis=0) / share.sum(axis=0)
        deviation = np.sqrt((share * (pixels[:, None] - mean) ** 2).sum(axis=0) / share.sum(axis=0))
    return {"names": list(TISSUES), "mean": mean.round(1).tolist(), "deviation": deviation.round(1).tolist()}


if __name__ == "__main__":
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "weights.json")
    with open(path, "w") as file:
        json.dump(make_weights(), file, indent=2)
        file.write("\n")
