from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from mdai_build.report.overlay import class_colour, draw_output
from mdai_build.report.pictures import MOST_PER_OWN_SAMPLE, MOST_PER_SAMPLE, DrawerBeside, draw_pictures
from mdai_build.report.render import NotDrawableError, render
from mdai_build.smoke import dicom
from mdai_build.smoke.request import Demand, InputFile, SmokeRequest
from mdai_build.smoke.result import Answer, SmokeResult
from mdai_build.smoke.samples import synthetic_request

PLACE = dicom.Place("test", "test")


def dataset(pixels: np.ndarray[Any, Any], photometric: str = "MONOCHROME2", **attributes: Any) -> Dataset:
    ds = dicom.dataset(dicom.CT_IMAGE, PLACE, "CT", attributes)
    dicom.set_pixels(ds, pixels, 8 * pixels.itemsize, photometric)
    return ds


def grey(pixels: np.ndarray[Any, Any], photometric: str = "MONOCHROME2", **attributes: Any) -> list[int]:
    picture, _ = render(dicom.write(dataset(pixels, photometric, **attributes)))
    return [int(value) for value in np.asarray(picture)[..., 0].ravel()]


HU = np.array([[-1000, 0, 40, 140, 1000, -160]], dtype=np.int16)


# ---- the input image ----


def test_rescale_and_window() -> None:
    stored = (HU + 1024).astype(np.int16)
    shown = grey(stored, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400)
    # PS3.3 C.11.2.1.2: (x - (c - 0.5)) / (w - 1) + 0.5
    assert shown == [0, 102, 128, 192, 255, 0]


def test_the_first_of_several_windows_counts() -> None:
    values = {"RescaleSlope": 1, "RescaleIntercept": 0}
    several = grey(HU, WindowCenter=[40, 500], WindowWidth=[400, 2000], **values)
    assert several == grey(HU, WindowCenter=40, WindowWidth=400, **values)


def test_monochrome1_is_inverted() -> None:
    window = {"WindowCenter": 40, "WindowWidth": 400}
    assert grey(HU, "MONOCHROME1", **window) == [255 - value for value in grey(HU, **window)]


def test_without_a_window_the_values_are_stretched() -> None:
    shown = grey(np.arange(0, 3000, 10, dtype=np.int16).reshape(15, 20))
    assert shown[0] == 0 and shown[-1] == 255


@pytest.mark.parametrize(("function", "middle"), [("LINEAR_EXACT", 128), ("SIGMOID", 128)])
def test_other_window_functions(function: str, middle: int) -> None:
    shown = grey(HU, WindowCenter=40, WindowWidth=400, VOILUTFunction=function)
    assert shown[2] == middle
    assert shown == [value for _, value in sorted(zip(HU.ravel(), shown, strict=True))] or shown[0] < shown[4]


def voi_table(first: int, bits: int, entries: list[int] | bytes, count: int | None = None) -> Dataset:
    table = Dataset()
    table.LUTDescriptor = [count or len(entries), first, bits]
    table["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    table.LUTData = entries
    table["LUTData"].VR = "OW" if isinstance(entries, bytes) else "US"
    return table


@pytest.mark.parametrize(
    ("table", "shown"),
    [
        (voi_table(0, 8, [200, 100, 50, 0]), [200, 100, 50, 0]),
        (voi_table(1, 8, [10, 255]), [10, 10, 255, 255]),
        (voi_table(0, 12, [0, 1365, 2730, 4095]), [0, 85, 170, 255]),
        # 16 bits are said, and 12 of them used
        (voi_table(0, 16, [0, 1365, 2730, 4095]), [0, 85, 170, 255]),
        (voi_table(0, 16, b"\x00\x00\x55\x55\xaa\xaa\xff\xff", 4), [0, 85, 170, 255]),
        (voi_table(0, 8, b"\x00\x10\x20\xff", 4), [0, 16, 32, 255]),
    ],
)
def test_a_voi_table(table: Dataset, shown: list[int]) -> None:
    assert grey(np.array([[0, 1, 2, 3]], dtype=np.uint16), VOILUTSequence=[table]) == shown


def test_a_long_voi_table_of_short_entries() -> None:
    table = voi_table(-1024, 8, [number * 255 // 2047 for number in range(2048)])
    pixels = np.array([[0, 512, 1024, 2047, 4000]], dtype=np.uint16)
    assert grey(pixels, VOILUTSequence=[table], RescaleSlope=1, RescaleIntercept=-1024) == [0, 63, 127, 255, 255]


def test_a_window_goes_before_a_table_where_both_are_there() -> None:
    window = {"WindowCenter": 40, "WindowWidth": 400}
    assert grey(HU, VOILUTSequence=[voi_table(0, 8, [0, 255])], **window) == grey(HU, **window)


def test_each_frame_of_an_enhanced_image_has_its_own_rescale_and_window() -> None:
    def group(centre: float, intercept: float) -> Dataset:
        window, values, frame = Dataset(), Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = centre, 401
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 1, intercept, "HU"
        frame.FrameVOILUTSequence, frame.PixelValueTransformationSequence = [window], [values]
        return frame

    pixels = np.full((2, 4, 4), 1024, dtype=np.uint16)
    ds = dataset(pixels[0], PerFrameFunctionalGroupsSequence=[group(0, -1024), group(0, -1124)])
    ds.NumberOfFrames = 2
    ds.PixelData = pixels.tobytes()
    content = dicom.write(ds)
    shown = [np.asarray(render(content, frame)[0])[0, 0, 0] for frame in (0, 1)]
    assert shown == [128, 64]


def test_what_is_no_image_does_not_set_the_contrast() -> None:
    pixels = np.full((20, 20), -2000, dtype=np.int16)
    pixels[:10] = np.linspace(0, 100, 200).reshape(10, 20).astype(np.int16)
    with_padding = dataset(pixels, PixelPaddingValue=-2000)
    with_padding["PixelPaddingValue"].VR = "SS"
    picture, _ = render(dicom.write(with_padding))
    assert len(np.unique(np.asarray(picture)[:10])) > 90


def test_ybr_comes_out_as_the_colours_it_means() -> None:
    from pydicom.pixels.processing import convert_color_space

    rgb = np.zeros((4, 4, 3), dtype=np.uint8)
    rgb[:2] = (200, 30, 60)
    rgb[2:] = (20, 180, 90)
    ybr = convert_color_space(rgb, "RGB", "YBR_FULL")
    ds = dataset(ybr, "RGB")
    ds.PhotometricInterpretation = "YBR_FULL"
    picture, how = render(dicom.write(ds))
    assert np.abs(np.asarray(picture).astype(int) - rgb).max() <= 2
    assert "YBR_FULL" in how


def test_colours_of_twelve_bits_in_sixteen() -> None:
    pixels = np.full((4, 4, 3), 4095, dtype=np.uint16)
    ds = dataset(pixels, "RGB")
    ds.BitsStored, ds.HighBit = 12, 11
    assert render(dicom.write(ds))[0].getpixel((0, 0)) == (255, 255, 255)


def test_colours_stay_colours() -> None:
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    pixels[..., 0] = 250
    picture, _ = render(dicom.write(dataset(pixels, "RGB")))
    assert picture.getpixel((0, 0)) == (250, 0, 0)


def test_frames_are_told_apart() -> None:
    file = synthetic_request("us-clip").files[0]
    first, third = (np.asarray(render(file.content, frame)[0]) for frame in (0, 4))
    assert not np.array_equal(first, third)
    beyond = np.asarray(render(file.content, 99)[0])
    np.testing.assert_array_equal(beyond, np.asarray(render(file.content, 5)[0]))


def test_jpeg_in_dicom_looks_like_its_original() -> None:
    plain, packed = (
        np.asarray(render(synthetic_request(name).files[0].content, 2)[0]).astype(float)
        for name in ("us-clip", "us-clip-jpeg")
    )
    assert np.abs(plain - packed).mean() < 12


@pytest.mark.parametrize("content", [b"", b"\0" * 128 + b"DICM", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"text"])
def test_what_is_no_image(content: bytes) -> None:
    with pytest.raises(NotDrawableError):
        render(content)


def test_a_claim_of_a_huge_image_is_refused_before_it_is_decoded() -> None:
    ds = dataset(HU)
    ds.Rows = ds.Columns = 65535
    with pytest.raises(NotDrawableError, match="too many"):
        render(dicom.write(ds))


# ---- what is drawn on it ----

BLACK = Image.new("RGB", (100, 80))


def drawn(data: Any, class_index: Any = 0, rows: int = 80, columns: int = 100) -> np.ndarray[Any, Any]:
    output = {"type": "ANNOTATION", "class_index": class_index, "data": data}
    return np.asarray(draw_output(BLACK.copy(), output, rows, columns))


def test_a_mask_covers_its_pixels_alone() -> None:
    mask = np.zeros((80, 100), dtype=int)
    mask[20:40, 30:60] = 1
    shown = drawn({"mask": mask.tolist()})
    assert (shown[20:40, 30:60].sum(axis=-1) > 0).all()
    assert shown.sum() == shown[20:40, 30:60].sum()
    assert tuple(shown[20, 30]) == class_colour(0)  # its edge


def test_a_mask_of_probabilities_is_cut_at_one_half() -> None:
    shown = drawn({"mask": [[0.4] * 50 + [0.6] * 50] * 80})
    assert shown[:, :50].sum() == 0 and shown[40, 75].sum() > 0


def test_a_box_goes_around_its_pixels() -> None:
    shown = drawn({"x": 10, "y": 20, "width": 30, "height": 40})
    assert shown[20:60, 10:40].sum() > 0
    assert shown[25:55, 15:35].sum() == 0
    assert shown[:, 50:].sum() == 0


def test_coordinates_are_those_of_the_input_however_large_it_is_shown() -> None:
    shown = drawn({"x": 1000, "y": 800}, rows=1600, columns=2000)
    assert shown[40, 50].sum() > 0 or shown[40, 51].sum() > 0
    assert shown[:20].sum() == 0


def test_vertices_and_classes_have_colours() -> None:
    shown = drawn({"vertices": [[10, 10], [90, 10], [50, 70]]}, class_index=2)
    assert tuple(shown[10, 50]) == class_colour(2)
    assert class_colour(2) != class_colour(3)


HOSTILE_DATA = [
    {"mask": [[0, 1], [2]]},
    {"mask": "text"},
    {"mask": []},
    {"mask": [[]]},
    {"mask": [[float("nan")] * 5] * 5},
    {"mask": [["a"]]},
    {"vertices": [[1]]},
    {"vertices": []},
    {"vertices": 5},
    {"vertices": [[1e300, -1e300], [float("inf"), float("nan")], [10**400, 0]]},
    {"vertices": [[0, 0]] * 200_000},
    {"x": 10**30, "y": -(10**30)},
    {"x": "a", "y": None},
    {"x": 5, "y": 5, "width": -10, "height": 10**9},
    {"width": 5},
    [],
    "text",
]


# ---- the files ----


def result(*answers: Answer) -> SmokeResult:
    return SmokeResult(checks=(), answers=answers)


def answer(name: str, *outputs: Any, demand: Demand = Demand.EXPECTED, valid: bool = True) -> Answer:
    request = synthetic_request(name)
    request = SmokeRequest(name, request.scope, request.files, demand)
    return Answer(request, outputs, 0.1, valid)


def output(file: InputFile, **more: Any) -> dict[str, Any]:
    uids = {"study_uid": file.study_uid, "series_uid": file.series_uid, "instance_uid": file.instance_uid}
    return {"type": "ANNOTATION", **uids, "class_index": 0, **more}


def names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


def test_a_picture_for_each_image_that_outputs_name(tmp_path: Path) -> None:
    files = synthetic_request("ct-series").files
    paths = draw_pictures(result(answer("ct-series", output(files[0]), output(files[2]), output(files[2]))), tmp_path)
    assert names(paths) == ["01-ct-series-001.png", "01-ct-series-002.png"]
    with Image.open(paths[0]) as picture:
        assert picture.size == (512 + 380, 512)


def test_a_series_output_goes_to_the_middle_slice(tmp_path: Path) -> None:
    file = synthetic_request("ct-series").files[0]
    paths = draw_pictures(result(answer("ct-series", {"type": "NONE", "study_uid": file.study_uid})), tmp_path)
    assert names(paths) == ["01-ct-series.png"]


def test_no_outputs_still_show_the_image(tmp_path: Path) -> None:
    assert names(draw_pictures(result(answer("png")), tmp_path)) == ["01-png.png"]


def test_synthetic_samples_get_few_pictures_and_own_ones_more(tmp_path: Path) -> None:
    outputs = [output(file) for file in synthetic_request("ct-series").files]
    few = draw_pictures(result(answer("ct-series", *outputs)), tmp_path)
    assert len(few) == MOST_PER_SAMPLE
    own = draw_pictures(result(answer("ct-series", *outputs, demand=Demand.REQUIRED)), tmp_path)
    assert len(own) == len(outputs) < MOST_PER_OWN_SAMPLE


def test_an_output_is_listed_however_many_images_it_has(tmp_path: Path) -> None:
    files = synthetic_request("ct").files
    images = [files[0].content] * MOST_PER_SAMPLE
    *_, path = draw_pictures(result(answer("ct", output(files[0], type="IMAGE", images=images))), tmp_path)
    with Image.open(path) as picture:
        panel = np.asarray(picture.convert("RGB"))[:, 512:]
    assert (panel == class_colour(0)).all(axis=-1).sum() > 100


def test_images_and_explanations_are_saved_beside(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), (1, 2, 3)).save(buffer, "JPEG")
    file = synthetic_request("png").files[0]
    paths = draw_pictures(
        result(
            answer(
                "png",
                output(file, type="IMAGE", images=[buffer.getvalue(), synthetic_request("ct").files[0].content]),
                output(file, explanations=[{"name": "GradCAM", "content": buffer.getvalue()}]),
            )
        ),
        tmp_path,
    )
    assert names(paths) == [
        "01-png-output0-image0.png",
        "01-png-output0-image1.png",
        "01-png-output1-explanation0.png",
        "01-png.png",
    ]
    for path in paths:
        with Image.open(path) as picture:
            assert picture.format == "PNG"


@pytest.mark.parametrize("data", HOSTILE_DATA, ids=lambda data: str(data)[:40])
def test_hostile_data_costs_no_picture(tmp_path: Path, data: Any) -> None:
    file = synthetic_request("png").files[0]
    paths = draw_pictures(result(answer("png", output(file, data=data), valid=False)), tmp_path)
    assert names(paths) == ["01-png.png"]


@pytest.mark.parametrize(
    "outputs",
    [
        (5, None, [], "x"),
        ({"type": object()},),
        ({"type": "IMAGE", "images": [b"no image", 5, None], "explanations": [None, {"content": 3}, {}]},),
        ({"type": "IMAGE", "images": b"no list", "explanations": 5},),
        ({"note": "\x1b[31m" + "x" * 100_000, "probability": [5, {}, {"class_index": "a" * 999}] * 99},),
        ({"frame_number": -5, "class_index": [], "probability": "high", "data": None},),
        ({"frame_number": 10**30, "class_index": 10**30, "probability": float("nan")},),
        tuple({"type": "NONE", "note": str(number)} for number in range(2000)),
    ],
    ids=["no maps", "no type", "no images", "no list", "endless", "no values", "out of range", "many"],
)
def test_hostile_outputs_cost_no_picture(tmp_path: Path, outputs: tuple[Any, ...]) -> None:
    paths = draw_pictures(result(answer("png", *outputs, valid=False)), tmp_path)
    assert names(paths) == ["01-png.png"]


def test_an_undecodable_input_is_a_grey_picture(tmp_path: Path) -> None:
    file = InputFile("../../x y.dcm", b"broken", "application/dicom", "1", "2", "3", 30, 40)
    request = SmokeRequest("../../evil name", "INSTANCE", (file,), Demand.REQUIRED)
    (path,) = draw_pictures(result(Answer(request, (), 0.1, True)), tmp_path)
    assert path == tmp_path / "01-evil-name.png"


def test_pictures_of_an_earlier_run_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "99-mine.png").write_bytes(b"mine")
    outside = tmp_path.parent / "00-outside.png"
    outside.write_bytes(b"outside")
    first = draw_pictures(result(answer("png"), answer("jpeg")), tmp_path)
    listed = json.loads((tmp_path / "pictures.json").read_text())
    (tmp_path / "pictures.json").write_text(json.dumps([*listed, "../00-outside.png", 5]))
    second = draw_pictures(result(answer("png")), tmp_path)
    assert not first[1].exists() and second[0].exists()
    assert outside.exists() and (tmp_path / "99-mine.png").exists()


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("x")
    with caplog.at_level(logging.WARNING):
        assert draw_pictures(result(answer("png")), tmp_path / "file" / "below") == ()
    assert "cannot write" in caplog.text


# ---- beside the model ----


def test_drawn_beside_they_are_the_same_pictures(tmp_path: Path) -> None:
    answers = [answer("png"), answer("ct-series"), answer("jpeg")]
    paths = draw_pictures(result(*answers), tmp_path / "after")
    with DrawerBeside(tmp_path / "beside") as drawer:
        for each in answers:
            drawer.draw(each)
        beside = drawer.finish()
    assert names(beside) == names(paths)
    assert [path.read_bytes() for path in beside] == [path.read_bytes() for path in paths]


def test_a_drawer_that_is_left_early_does_not_wait_for_all_pictures(tmp_path: Path) -> None:
    many = [answer("ct-series")] * 200
    with pytest.raises(KeyboardInterrupt), DrawerBeside(tmp_path) as drawer:
        for each in many:
            drawer.draw(each)
        raise KeyboardInterrupt
    assert len(list(tmp_path.glob("*.png"))) < len(many)


def test_a_mistake_of_the_drawer_beside_is_not_swallowed(tmp_path: Path) -> None:
    with DrawerBeside(tmp_path) as drawer:
        drawer.draw(None)  # type: ignore[arg-type]
        with pytest.raises(AttributeError):
            drawer.finish()
