"""Fits the pixel classifier on synthetic discs: `python make_weights.py` writes weights.npz (under 1 kB)."""

import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".mdai"))
from mdai_deploy import box_mean  # noqa: E402  the same features as at run time


def training_data(count, generator):
    """The features and the truth of every pixel of images with one bright, noisy disc each."""
    features, truth = [], []
    y, x = np.mgrid[0:64, 0:64]
    for _ in range(count):
        row, column, radius = generator.uniform(20, 44), generator.uniform(20, 44), generator.uniform(8, 18)
        disc = (y - row) ** 2 + (x - column) ** 2 < radius**2
        image = (0.25 + 0.5 * disc + generator.normal(0, 0.08, disc.shape)).clip(0, 1)
        mean = box_mean(image)
        deviation = np.sqrt(np.maximum(box_mean(image**2) - mean**2, 0))
        features.append(np.stack([image, mean, deviation], axis=-1).reshape(-1, 3))
        truth.append(disc.ravel())
    return np.concatenate(features), np.concatenate(truth).astype(float)


def make_weights(steps=25):
    """Logistic regression by Newton's method, with a little shrinkage."""
    features, truth = training_data(20, np.random.default_rng(0))
    inputs = np.column_stack([features, np.ones(len(features))])
    weights = np.zeros(4)
    for _ in range(steps):
        probability = 1 / (1 + np.exp(-inputs @ weights))
        gradient = inputs.T @ (probability - truth) + weights
        curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs + np.eye(4)
        weights -= np.linalg.solve(curvature, gradient)
    return {"kernel": weights[:3], "bias": weights[3]}


if __name__ == "__main__":
    np.savez(os.path.join(HERE, "weights.npz"), **make_weights())
