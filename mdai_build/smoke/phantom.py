"""Pixels that look like medical images, by plain arithmetic: the same numbers on every machine.

Each function says what its numbers mean. Structures lie off centre and images are not square where the modality
allows it, so that a model that swaps rows and columns, or left and right, shows.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def _noise(seed: int, shape: tuple[int, ...]) -> Floats:
    # RandomState, since its stream is frozen for all numpy versions (NEP 19); Generator's is not.
    return np.random.RandomState(seed).standard_normal(shape)


def _grid(rows: int, columns: int) -> tuple[Floats, Floats]:
    """y and x of every pixel, each from -1 to 1."""
    y, x = np.mgrid[0:rows, 0:columns]
    return (2 * y + 1) / rows - 1, (2 * x + 1) / columns - 1


def _ellipse(y: Floats, x: Floats, centre: tuple[float, float], radii: tuple[float, float]) -> Floats:
    """Below 1 inside an ellipse, 1 on its edge: the squared distance in units of its radii."""
    return ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2


def _blur(image: Floats, radius: int) -> Floats:
    """The mean over a square, by two running sums."""
    size = 2 * radius + 1
    rows = np.cumsum(np.pad(image, ((radius + 1, radius), (0, 0)), mode="edge"), axis=0)
    rows = rows[size:] - rows[:-size]
    both = np.cumsum(np.pad(rows, ((0, 0), (radius + 1, radius)), mode="edge"), axis=1)
    blurred: Floats = (both[:, size:] - both[:, :-size]) / size**2
    return blurred


def _doubled(image: Floats) -> Floats:
    """Twice the rows and columns: structures are drawn at half size, since that takes a quarter of the time."""
    return np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)


@functools.lru_cache(maxsize=32)
def ct_slice(position: float, size: int = 512, seed: int = 0) -> Floats:
    """One axial slice through a chest, in Hounsfield units, (size, size).

    Args:
        position: where in the chest, from 0 (lung bases) to 1 (apices).
        size: rows and columns, even.
        seed: of the noise.
    """
    half = size // 2
    y, x = _grid(half, half)
    taper = np.sqrt(max(0.05, 1 - (1.1 * (position - 0.4)) ** 2))
    body_radii = (0.56, 0.80)
    image = np.full((half, half), -1000.0)
    body = _ellipse(y, x, (0.02, 0), body_radii)
    image[body < 1] = -95.0  # fat under the skin
    image[_ellipse(y, x, (0.02, 0), (0.50, 0.73)) < 1] = 45.0  # muscle

    for side in (-1, 1):  # lungs, with vessels that thin out from the hilum
        lung = _ellipse(y, x, (-0.03, 0.37 * side), (0.37 * taper, 0.26 * taper)) < 1
        image[lung] = -860.0
        for branch in range(7):
            angle = -1.2 + 0.4 * branch
            along = (x - 0.14 * side) * side * np.cos(angle) + (y + 0.03) * np.sin(angle)
            across = -(x - 0.14 * side) * side * np.sin(angle) + (y + 0.03) * np.cos(angle)
            wave = 0.015 * np.sin(14 * along + branch + 9 * position)
            vessel = (np.abs(across + wave) < 0.014 * (1 - along / 0.4)) & (along > 0) & (along < 0.36)
            image[lung & vessel] = 30.0

    if position < 0.7:  # heart, with contrast in it
        image[_ellipse(y, x, (-0.10, 0.10), (0.25 * (1 - position), 0.28 * (1 - position))) < 1] = 60.0
        image[_ellipse(y, x, (-0.08, 0.14), (0.14 * (1 - position), 0.13 * (1 - position))) < 1] = 210.0
    image[_ellipse(y, x, (0.17, 0.09), (0.055, 0.055)) < 1] = 240.0  # descending aorta

    for index in range(14):  # ribs around the chest, at places that move from slice to slice
        angle = 2 * np.pi * (index + 0.5 + position) / 14
        centre = (0.02 + 0.465 * np.sin(angle), 0.69 * np.cos(angle))
        image[_ellipse(y, x, centre, (0.022, 0.034)) < 1] = 480.0
    image[_ellipse(y, x, (0.30, 0), (0.10, 0.13)) < 1] = 320.0  # vertebra: spongy, with a dense shell
    image[_ellipse(y, x, (0.30, 0), (0.075, 0.10)) < 1] = 190.0
    image[_ellipse(y, x, (0.415, 0), (0.035, 0.045)) < 1] = 30.0  # spinal canal
    image[(np.abs(x) < 0.018) & (y > 0.44) & (y < 0.53)] = 500.0  # spinous process
    image[_ellipse(y, x, (-0.45, 0), (0.025, 0.09)) < 1] = 380.0  # sternum

    nodule = 0.085 * np.sqrt(max(0.0, 1 - ((position - 0.5) / 0.35) ** 2))
    if nodule > 0:  # a nodule in the lung on the image's left
        image[_ellipse(y, x, (-0.12, -0.40), (nodule, nodule)) < 1] = 40.0
    image[(np.abs(y - 0.70 + 0.10 * x**2) < 0.012) & (np.abs(x) < 0.85)] = -300.0  # table
    image = _doubled(image)
    image = _blur(image + 34 * _noise(seed, image.shape), 1)
    image.flags.writeable = False  # callers share it
    return image


@functools.lru_cache(maxsize=1)
def chest_radiograph(rows: int = 1024, columns: int = 880, seed: int = 0) -> Floats:
    """A frontal chest radiograph, (rows, columns), both even, from 0 (air) to 1 (bone): how much each ray lost."""
    y, x = _grid(rows // 2, columns // 2)

    def thickness(centre: tuple[float, float], radii: tuple[float, float]) -> Floats:
        depth: Floats = np.sqrt(np.clip(1 - _ellipse(y, x, centre, radii), 0, None))
        return depth

    body = 0.60 * thickness((0.55, 0), (1.45, 0.93)) + 0.30 * thickness((-1.0, 0), (0.5, 0.26))
    image = body
    for side, radii in ((-1, (0.66, 0.34)), (1, (0.64, 0.31))):  # lungs: air instead of tissue
        lung = thickness((-0.10, 0.43 * side), radii) * (1 / (1 + np.exp(18 * (y - 0.42 - 0.3 * x**2))))
        image = image - 0.36 * lung
        for branch in range(9):
            angle = -1.3 + 0.33 * branch
            along = (x - 0.16 * side) * side * np.cos(angle) + (y + 0.08) * np.sin(angle)
            across = -(x - 0.16 * side) * side * np.sin(angle) + (y + 0.08) * np.cos(angle)
            across = across + 0.02 * np.sin(9 * along + branch)
            vessel = np.clip(1 - np.abs(across) / (0.02 * np.clip(1 - along / 0.5, 0.05, 1)), 0, 1)
            image = image + 0.045 * vessel * (along > 0) * (along < 0.42) * lung
        for rib in range(9):  # bright-edged bands that slope down to the outside
            height = -0.72 + 0.17 * rib + 0.28 * (np.abs(x) - 0.1) ** 2 * (1 if rib % 2 else 2.2)
            band = np.abs(y - height) / 0.028
            image = image + np.where((x * side > 0.06) & (np.abs(x) < 0.84), 0.055 * (band < 1) * band, 0)
        collar = np.abs(y + 0.80 - 0.16 * (np.abs(x) - 0.45)) < 0.022
        image = image + 0.12 * collar * (np.abs(x) < 0.72) * (x * side > 0.05)
    image = image + 0.30 * thickness((0.20, 0.14), (0.33, 0.34)) + 0.12 * thickness((-0.30, 0.03), (0.42, 0.14))
    image = image + 0.10 * ((np.abs(x) < 0.085) & (y > -0.95))  # spine
    image = image + 0.16 * thickness((0.86, -0.32), (0.46, 0.62))  # liver under the right diaphragm
    image = image + 0.10 * thickness((-0.22, -0.46), (0.07, 0.075))  # a nodule
    image = _doubled(np.clip(image, 0, 1))
    image = _blur(image, 2) + 0.008 * _noise(seed, image.shape)
    image = np.clip(image, 0, 1)
    image.flags.writeable = False  # callers share it
    return image


def brain_slice(position: float, rows: int = 256, columns: int = 208, seed: int = 0) -> Floats:
    """One axial T1-weighted slice through a head, (rows, columns), both even, from 0 to 1.

    `position` goes from 0 (base) to 1 (vertex). Pixels are square, so fewer columns show less to the sides.
    """
    y, x = _grid(rows // 2, columns // 2)
    x = x * columns / rows
    scale = np.sqrt(max(0.1, 1 - (position - 0.4) ** 2 * 1.6))
    image = np.zeros_like(x)
    for radius, value in ((0.84, 0.85), (0.78, 0.08), (0.72, 0.25), (0.69, 0.55)):  # skin, skull, fluid, grey matter
        image[_ellipse(y, x, (0.02, 0), (radius * scale * 1.08, radius * scale * 0.88)) < 1] = value
    folds = 0.05 * np.sin(11 * np.arctan2(y, x)) + 0.03 * np.sin(23 * np.arctan2(y, x) + 6 * position)
    white = _ellipse(y, x, (0.02, 0), (0.60 * scale, 0.48 * scale)) + folds
    image[white < 1] = 0.78
    for side in (-1, 1):  # ventricles
        turned = x * side - 0.11 - 0.22 * (y + 0.05) ** 2
        image[(np.abs(turned) < 0.05 * scale) & (np.abs(y + 0.02) < 0.30 * scale)] = 0.2
    image[(np.abs(x) < 0.012) & (white < 1.2)] = 0.3  # the fissure between the halves
    if abs(position - 0.55) < 0.25:  # a lesion with a bright rim on the image's right
        lesion = _ellipse(y, x, (-0.22, 0.34), (0.10, 0.09))
        image[lesion < 1] = 0.95
        image[lesion < 0.5] = 0.35
    shading = 1 - 0.12 * x + 0.08 * y  # of the coil
    image = _blur(_doubled(image * shading), 1)
    magnitude: Floats = np.clip(np.abs(image + 0.02 * _noise(seed, image.shape)), 0, 1)
    return magnitude


def mammogram(rows: int = 1024, columns: int = 768, seed: int = 0) -> Floats:
    """A craniocaudal view of a left breast, (rows, columns), both even, from 0 (air) to 1 (dense)."""
    y, x = _grid(rows // 2, columns // 2)
    depth = np.clip(1 - _ellipse(y, x, (0, -1), (0.72, 1.45)), 0, None)
    image = 0.34 * np.minimum(1, 6 * depth) * (depth > 0)
    texture = _blur(_blur(_noise(seed, x.shape), 9), 9)
    glands = np.clip(1 - _ellipse(y, x, (0.02, -0.45), (0.42, 0.62)), 0, 1)
    image = image + glands * np.clip(0.20 + 5 * texture, 0, 0.45)
    for angle in np.linspace(-0.5, 0.5, 9):  # strands that run to the nipple
        across = np.abs((y - 0.45 * angle * (0.42 - x)) + 0.01 * np.sin(20 * x + 9 * angle))
        image = image + 0.06 * (across < 0.006) * (depth > 0.05)
    mass = _ellipse(y, x, (0.20, -0.35), (0.055, 0.075))
    image = image + 0.25 * np.clip(1.4 - mass, 0, 1)
    for spot in range(7):  # a cluster of calcifications
        centre = (-0.24 + 0.03 * np.sin(5 * spot), -0.20 + 0.04 * np.cos(3 * spot))
        image = np.where(_ellipse(y, x, centre, (0.006, 0.008)) < 1, 0.98, image)
    image = _blur(_doubled(np.clip(image, 0, 1)), 1)
    clipped: Floats = np.clip(image + 0.006 * _noise(seed + 1, image.shape), 0, 1)
    return clipped


def ultrasound_clip(frames: int = 6, rows: int = 240, columns: int = 320, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A colour Doppler clip, (frames, rows, columns, 3): a fan of speckle, and a vessel that pulses red and blue."""
    y, x = np.mgrid[0:rows, 0:columns].astype(float)
    depth = np.hypot(y + 0.15 * rows, x - columns / 2) / rows
    angle = np.arctan2(x - columns / 2, y + 0.15 * rows)
    fan = (np.abs(angle) < 0.62) & (depth > 0.22) & (depth < 1.08)
    speckle = np.abs(_blur(_noise(seed, (rows, columns)), 1)) + 0.3
    clip = np.zeros((frames, rows, columns, 3), dtype=np.uint8)
    for frame in range(frames):
        beat = np.sin(2 * np.pi * frame / frames)
        vessel = _ellipse(y, x, (0.55 * rows, 0.54 * columns), (0.11 * rows + 3 * beat, 0.17 * columns))
        cyst = _ellipse(y, x, (0.36 * rows, 0.42 * columns), (0.06 * rows, 0.06 * columns))
        wall = np.exp(-(((vessel - 1.15) / 0.25) ** 2))
        bright = speckle * (0.75 - 0.35 * depth) * np.where((vessel < 1) | (cyst < 1), 0.12, 1) + 0.5 * wall
        grey = np.clip(255 * bright * fan, 0, 255)
        flow = np.clip(1 - vessel, 0, 1) * fan * (vessel < 0.9)
        clip[frame] = np.stack(
            [
                np.clip(grey + 230 * flow * (0.6 + 0.4 * beat), 0, 255),
                np.clip(grey + 60 * flow, 0, 255),
                np.clip(grey + 200 * flow * np.clip(-beat, 0, 1), 0, 255),
            ],
            axis=-1,
        )
    return clip
