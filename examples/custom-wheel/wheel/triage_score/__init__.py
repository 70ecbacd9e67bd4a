"""Turns measurements into a triage score: the kind of in-house package that no index has."""

__version__ = "0.1.0"


def triage_score(values, weights, bias):
    """A number from 0 (can wait) to 1 (urgent): the logistic function of the weighted sum."""
    import numpy as np

    return float(1 / (1 + np.exp(-(np.dot(values, weights) + bias))))
