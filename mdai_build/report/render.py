"""Input files as pictures that a radiologist would recognise: rescale, VOI window, MONOCHROME1 and colour."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_PIXELS = 64 * 1024**2
"""Of one frame; anything larger is not drawn."""

Bytes = npt.NDArray[np.uint8]


class NotDrawableError(Exception):
    """The content cannot be shown; the message says why."""


def render(content: bytes, frame: int = 0) -> tuple[Image.Image, str]:
    """An image file's frame as an RGB picture, and in words how it was made.

    Raises:
        NotDrawableError: it is no image, larger than `MAX_PIXELS`, or not decodable here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if content[128:132] == b"DICM":
                return _render_dicom(content, frame)
            with Image.open(io.BytesIO(content)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise NotDrawableError(f"{image.width} x {image.height} pixels are too many")
                kind = f"{image.format} {image.mode}"
                return _as_rgb(image), kind
        except NotDrawableError:
            raise
        # Decoders raise whatever comes to their minds on bytes from strangers.
        except Exception as error:
            raise NotDrawableError(f"it does not decode: {type(error).__name__}: {error}") from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "I;16", "F"):
        return Image.fromarray(_stretch(np.asarray(image, dtype=np.float64))).convert("RGB")
    return image.convert("RGB")


def _render_dicom(content: bytes, frame: int) -> tuple[Image.Image, str]:
    import pydicom
    from pydicom.pixels.utils import pixel_array

    ds = pydicom.dcmread(io.BytesIO(content))
    rows, columns = int(ds.Rows), int(ds.Columns)
    if rows * columns > MAX_PIXELS:
        raise NotDrawableError(f"{columns} x {rows} pixels are too many")
    frames = int(ds.get("NumberOfFrames") or 1)
    pixels = pixel_array(ds, index=min(max(frame, 0), frames - 1))
    photometric = str(ds.PhotometricInterpretation)
    if photometric == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        pixels = apply_color_lut(pixels, ds)
    if pixels.ndim == 3:
        shift = max(0, 8 * pixels.itemsize - 8)
        return Image.fromarray((pixels >> shift).astype(np.uint8)), f"{ds.get('Modality', '')} {photometric}".strip()
    grey, how = _window(pixels, ds)
    if photometric == "MONOCHROME1":
        grey = 255 - grey
        how += ", inverted (MONOCHROME1)"
    return Image.fromarray(grey).convert("RGB"), f"{ds.get('Modality', '')} {how}".strip()


def _window(pixels: npt.NDArray[Any], ds: Dataset) -> tuple[Bytes, str]:
    """Modality LUT, then VOI LUT or window (DICOM PS3.3 C.11.1 and C.11.2), to 0 ... 255."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    values = np.asarray(apply_modality_lut(pixels, ds), dtype=np.float64)
    if "VOILUTSequence" in ds and "WindowCenter" not in ds:
        return _stretch(np.asarray(apply_voi_lut(pixels, ds), dtype=np.float64)), "VOI LUT"
    if "WindowCenter" not in ds or "WindowWidth" not in ds:
        return _stretch(values), "no window, 0.5 to 99.5 %"
    centre, width = _first(ds.WindowCenter), _first(ds.WindowWidth)
    function = str(ds.get("VOILUTFunction") or "LINEAR")
    if function == "SIGMOID":
        shown = 1 / (1 + np.exp(np.clip(-4 * (values - centre) / max(width, 1e-6), -50, 50)))
    elif function == "LINEAR_EXACT":
        shown = (values - centre) / max(width, 1e-6) + 0.5
    else:
        shown = (values - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5
    grey: Bytes = np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)
    return grey, f"window {centre:g}/{width:g}"


def _first(value: Any) -> float:
    return float(value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) else value)


def _stretch(values: npt.NDArray[np.float64]) -> Bytes:
    low, high = np.percentile(values, (0.5, 99.5))
    scaled: Bytes = np.rint(np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    return scaled
