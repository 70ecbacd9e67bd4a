"""Trains the classifier's weights on synthetic images: `python make_weights.py` writes weights.npz (6 kB)."""

import os

import numpy as np

GRID = 16


def training_data(count, generator):
    """Images of two dark lungs on a bright body, with noise; classes 1 and 2 have one lung clouded."""
    y, x = np.mgrid[0:GRID, 0:GRID] / (GRID - 1.0)
    left = ((x - 0.3) / 0.16) ** 2 + ((y - 0.5) / 0.38) ** 2 < 1
    right = left[:, ::-1]
    labels = generator.integers(0, 3, count)
    images = 0.8 + generator.normal(0, 0.05, (count, GRID, GRID))
    images[:, left | right] -= 0.6
    images[labels == 1] += 0.4 * left
    images[labels == 2] += 0.4 * right
    return images.reshape(count, -1).clip(0, 1), labels


def make_weights(steps=300, rate=0.3):
    """Softmax regression by plain gradient descent."""
    images, labels = training_data(600, np.random.default_rng(0))
    mean = images.mean(axis=0)
    truth = np.eye(3)[labels]
    kernel, bias = np.zeros((3, GRID * GRID)), np.zeros(3)
    for _ in range(steps):
        scores = np.exp((images - mean) @ kernel.T + bias)
        error = scores / scores.sum(axis=1, keepdims=True) - truth
        kernel -= rate * error.T @ (images - mean) / len(images)
        bias -= rate * error.mean(axis=0)
    return {"kernel": kernel.astype(np.float32), "bias": (bias - kernel @ mean).astype(np.float32)}


if __name__ == "__main__":
    np.savez(os.path.join(os.path.dirname(os.path.abspath(__file__)), "weights.npz"), **make_weights())
