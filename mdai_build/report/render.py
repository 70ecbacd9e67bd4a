"""Input files as pictures that a radiologist would recognise: rescale, VOI LUT or window, MONOCHROME1 and colour."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_PIXELS = 64 * 1024**2
"""Of one frame; anything larger is not drawn."""
_FRAME_GROUPS = (
    ("PixelValueTransformationSequence", ("RescaleSlope", "RescaleIntercept", "RescaleType")),
    ("FrameVOILUTSequence", ("WindowCenter", "WindowWidth", "VOILUTFunction")),
)
"""Where enhanced multi-frame images keep what others have at their top (PS3.3, C.7.6.16.2.9 and 10)."""

Bytes = npt.NDArray[np.uint8]


class NotDrawableError(Exception):
    """The content cannot be shown; the message says why."""


def render(content: bytes, frame: int = 0) -> tuple[Image.Image, str]:
    """An image file's frame as an RGB picture, and in words how it was made.

    Raises:
        NotDrawableError: it is no image, larger than `MAX_PIXELS`, or not decodable here.
    """
    return Source(content).render(frame)


class Source:
    """An image file, read once, of which several frames can be rendered."""

    def __init__(self, content: bytes) -> None:
        """Raises NotDrawableError: it is no image."""
        self._content = content
        self._dataset: Dataset | None = None
        if content[128:132] == b"DICM":
            import pydicom

            with _decoding():
                self._dataset = pydicom.dcmread(io.BytesIO(content))

    def render(self, frame: int = 0) -> tuple[Image.Image, str]:
        """A frame as an RGB picture, and in words how it was made.

        Raises:
            NotDrawableError: it is larger than `MAX_PIXELS`, or not decodable here.
        """
        with _decoding():
            if self._dataset is not None:
                return _render_dicom(self._dataset, frame)
            with Image.open(io.BytesIO(self._content)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise NotDrawableError(f"{image.width} x {image.height} pixels are too many")
                kind = f"{image.format} {image.mode}"
                return _as_rgb(image), kind


@contextmanager
def _decoding() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except NotDrawableError:
            raise
        except UnidentifiedImageError:
            raise NotDrawableError("it is no image that is known here") from None
        # Decoders raise whatever comes to their minds on bytes from strangers.
        except Exception as error:
            raise NotDrawableError(f"it does not decode: {type(error).__name__}: {error}") from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "I;16", "F"):
        return Image.fromarray(_stretch(np.asarray(image, dtype=np.float64))).convert("RGB")
    return image.convert("RGB")


def _render_dicom(ds: Dataset, frame: int) -> tuple[Image.Image, str]:
    from pydicom.pixels.utils import pixel_array

    rows, columns = int(ds.Rows), int(ds.Columns)
    if rows * columns > MAX_PIXELS:
        raise NotDrawableError(f"{columns} x {rows} pixels are too many")
    frames = int(ds.get("NumberOfFrames") or 1)
    frame = min(max(frame, 0), frames - 1)
    # Colours come out as RGB, whatever they are stored as: YBR_FULL, YBR_FULL_422, YBR_ICT, YBR_RCT; in either plane.
    pixels = pixel_array(ds, index=frame)
    photometric, modality = str(ds.PhotometricInterpretation), str(ds.get("Modality", ""))
    bits = int(ds.get("BitsStored") or 8 * pixels.itemsize)
    if photometric == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        pixels = apply_color_lut(pixels, ds)
        bits = 8 * pixels.itemsize
    if pixels.ndim == 3:
        colours = (pixels >> max(0, bits - 8)).astype(np.uint8)
        return Image.fromarray(np.ascontiguousarray(colours[..., :3])), f"{modality} {photometric}".strip()
    grey, how = _window(pixels, _of_frame(ds, frame))
    # The two say the same; the second alone stands in some presentation images (PS3.3, C.8.11.3.1.2).
    if photometric == "MONOCHROME1" or str(ds.get("PresentationLUTShape") or "") == "INVERSE":
        grey = 255 - grey
        how += ", inverted (MONOCHROME1)"
    return Image.fromarray(grey).convert("RGB"), f"{modality} {how}".strip()


def _of_frame(ds: Dataset, frame: int) -> Dataset:
    """What says how the frame's values are shown: of enhanced images from the functional groups, else the file's."""
    from pydicom.dataset import Dataset

    shared = ds.get("SharedFunctionalGroupsSequence") or ()
    each = ds.get("PerFrameFunctionalGroupsSequence") or ()
    groups = [*shared[:1], *each[frame : frame + 1]]
    found = {
        keyword: macro[keyword]
        for group in groups
        for sequence, keywords in _FRAME_GROUPS
        for macro in (group.get(sequence) or ())[:1]
        for keyword in keywords
        if keyword in macro
    }
    if not found:
        return ds
    merged = Dataset()
    for keyword in (
        *("PixelRepresentation", "BitsStored", "BitsAllocated", "ModalityLUTSequence", "VOILUTSequence"),
        *("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction", "PixelPaddingValue"),
    ):
        if keyword in ds:
            merged[keyword] = ds[keyword]
    for keyword, element in found.items():
        merged[keyword] = element
    return merged


def _window(pixels: npt.NDArray[Any], ds: Dataset) -> tuple[Bytes, str]:
    """Modality LUT, then VOI LUT or window (DICOM PS3.3 C.11.1 and C.11.2), to 0 ... 255."""
    from pydicom.pixels.processing import apply_modality_lut

    values = np.asarray(apply_modality_lut(pixels, ds), dtype=np.float64)
    if ds.get("VOILUTSequence") and "WindowCenter" not in ds:
        return _voi_table(values, ds), "VOI LUT"
    if "WindowCenter" not in ds or "WindowWidth" not in ds:
        padding = ds.get("PixelPaddingValue")
        seen = pixels != padding if isinstance(padding, int) else np.ones(pixels.shape, dtype=bool)
        return _stretch(values, seen), "no window, 0.5 to 99.5 %"
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


def _voi_table(values: npt.NDArray[np.float64], ds: Dataset) -> Bytes:
    """The first table of VOI LUT Sequence (PS3.3, C.11.2.1.1): its output goes from 0 to what its entries can hold.

    pydicom's own `apply_voi` counts places in a table of 8-bit entries with 8 bits, so that a longer one wraps around.
    """
    table = ds.VOILUTSequence[0]
    count, first, bits = (int(number) for number in table.LUTDescriptor)
    count = count or 2**16
    if first >= 2**15 and values.min() < 0:  # negative, and read as if it were not
        first -= 2**16
    stored = table.LUTData
    if isinstance(stored, bytes):
        packed = bits == 8 and len(stored) in (count, count + 1)
        entries = np.frombuffer(stored, np.uint8 if packed else "<u2")[:count]
    else:
        entries = np.atleast_1d(np.asarray(stored))[:count]
    shown = entries[np.clip(np.rint(values) - first, 0, len(entries) - 1).astype(np.int64)]
    # Some say 16 bits of entries that never go beyond 12, and would be shown as black.
    most = 2 ** min(bits, max(1, int(entries.max()).bit_length())) - 1
    grey: Bytes = np.rint(np.clip(shown / most, 0, 1) * 255).astype(np.uint8)
    return grey


def _first(value: Any) -> float:
    return float(value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) else value)


def _stretch(values: npt.NDArray[np.float64], seen: npt.NDArray[np.bool_] | None = None) -> Bytes:
    measured = values if seen is None or not seen.any() else values[seen]
    low, high = np.percentile(measured, (0.5, 99.5))
    scaled: Bytes = np.rint(np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    return scaled
