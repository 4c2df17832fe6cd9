"""Opening files, reading their metadata, preparing images and predicting splits."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from danlu import __version__
from danlu.data.spec import Input
from danlu.deploy import export_onnx, predict, preprocess, read_metadata, session
from danlu.errors import UsageError

INPUT = Input((6, 8), 3, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), "short_side_crop")
CLASSES = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4)).eval()
    path = tmp_path_factory.mktemp("runtime") / "net.onnx"
    return net, export_onnx(net, path, input=INPUT, classes=CLASSES, recipe="net(width=4)", check=False)


@pytest.mark.parametrize("reader", [session, read_metadata])
@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "truncated", "flipped"])
def test_bad_files_are_one_line_that_names_them(reader: object, kind: str, pair: tuple[nn.Module, Path], tmp_path: Path) -> None:
    path = tmp_path / f"{kind}.onnx"
    good = pair[1].read_bytes()
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(
            {"empty": b"", "text": b"not a network " * 20, "truncated": good[: len(good) // 2], "flipped": good[::-1]}[kind]
        )
    with pytest.raises(UsageError, match=f"{kind}.onnx") as caught:
        reader(path)  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_threads_are_taken_and_checked(pair: tuple[nn.Module, Path]) -> None:
    options = session(pair[1], threads=2).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert session(pair[1]).get_session_options().intra_op_num_threads == torch.get_num_threads()
    assert session(pair[1]).get_providers() == ["CPUExecutionProvider"]
    with pytest.raises(UsageError, match="threads must be at least 1, got 0"):
        session(pair[1], threads=0)


def test_metadata_comes_back_as_it_was_given(pair: tuple[nn.Module, Path]) -> None:
    assert read_metadata(pair[1]) == {
        "classes": CLASSES, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "size": [6, 8], "resize": "short_side_crop",
        "recipe": "net(width=4)", "danlu": __version__,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"), [("mean", None), ("std", "[0.5]"), ("size", "[6"), ("resize", "zoom"), ("classes", None)]
)
def test_files_without_usable_metadata_are_refused(
    pair: tuple[nn.Module, Path], key: str, value: str | None, tmp_path: Path
) -> None:
    import onnx

    model = onnx.load(str(pair[1]))
    stored = {prop.key: prop.value for prop in model.metadata_props} | {key: value}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {name: text for name, text in stored.items() if text is not None})
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    with pytest.raises(UsageError, match=r"foreign\.onnx"):
        read_metadata(tmp_path / "foreign.onnx")


def by_hand(image: Image.Image, resize: str) -> np.ndarray:
    """The definition in numpy and Pillow. Shape: float64 [1, 3, 6, 8]."""
    if resize == "stretch":
        image = image.resize((8, 6), Image.Resampling.BILINEAR)
    else:
        scale = max(8 / image.width, 6 / image.height)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        left, top = (image.width - 8) // 2, (image.height - 6) // 2
        image = image.crop((left, top, left + 8, top + 6))
    return ((np.asarray(image) / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]).transpose(2, 0, 1)[None]


@pytest.mark.parametrize("resize", ["stretch", "short_side_crop"])
@pytest.mark.parametrize("size", [(31, 17), (9, 40), (8, 6), (3, 3)])
def test_preprocess_is_its_definition(resize: str, size: tuple[int, int], tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    image.save(tmp_path / "image.png")
    metadata = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "size": [6, 8], "resize": resize}
    x = preprocess(tmp_path / "image.png", metadata)
    assert (x.shape, x.dtype) == ((1, 3, 6, 8), np.float32)
    np.testing.assert_allclose(x, by_hand(image, resize), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(preprocess(image, metadata), x)
    np.testing.assert_array_equal(preprocess((tmp_path / "image.png").read_bytes(), metadata), x)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "I;16", "1", "RGB turned", "P transparent"])
def test_a_pillow_image_is_the_same_as_its_file(mode: str) -> None:
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8))
    options = {}
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 65536, (12, 10), dtype=np.uint16))
    elif mode in ("RGBA", "LA"):
        image = rgb.convert(mode)
        image.putalpha(Image.fromarray(rng.integers(0, 256, (12, 10), dtype=np.uint8)))
    elif mode == "RGB turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        image, options = rgb, {"exif": exif}
    elif mode == "P transparent":
        image = rgb.convert("P")
        options = {"transparency": image.getpixel((4, 4))}
    else:
        image = rgb.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF" if mode == "CMYK" else "PNG", **options)
    opened = Image.open(io.BytesIO(buffer.getvalue()))
    metadata = {"mean": [0.0] * 3, "std": [1.0] * 3, "size": [12, 10], "resize": "stretch"}
    np.testing.assert_array_equal(preprocess(opened, metadata), preprocess(buffer.getvalue(), metadata))


class Split:
    """What `predict` needs of a data split."""

    def __init__(self, pixels: torch.Tensor) -> None:
        self.pixels = pixels.contiguous(memory_format=torch.channels_last)
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, index: np.ndarray) -> torch.Tensor:
        self.asked.append(len(index))
        return self.pixels[torch.as_tensor(index)]


def test_predict_is_torch_on_normalised_images(pair: tuple[nn.Module, Path]) -> None:
    net, path = pair
    pixels = torch.randint(0, 256, (23, 3, 6, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = Split(pixels)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (INPUT.mean, INPUT.std))
    with torch.no_grad():
        expected = net((pixels / 255 - mean) / std).numpy()
    logits = predict(path, split, threads=1, batch_size=10)  # type: ignore[arg-type]
    assert split.asked == [10, 10, 3]
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert predict(path, Split(pixels[:0])).shape == (0, 4)  # type: ignore[arg-type]


def test_predict_refuses_images_of_another_size(pair: tuple[nn.Module, Path]) -> None:
    with pytest.raises(UsageError, match=r"\[3, 6, 8\], the data has \[3, 8, 6\]"):
        predict(pair[1], Split(torch.zeros(2, 3, 8, 6, dtype=torch.uint8)))  # type: ignore[arg-type]
