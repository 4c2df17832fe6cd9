"""Images for metrics: folders matched by name, label maps by number, and what a saved network sees in files."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn

from danlu.codec import save
from danlu.data import Input
from danlu.errors import UsageError
from danlu.metrics import features, mean_iou
from danlu.metrics.network import network
from danlu.metrics.pictures import decoded, label_maps, matched, pictures
from danlu.zoo import create


def draw(path: Path, seed: int, size: tuple[int, ...] = (12, 10)) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def test_folders_are_matched_by_name(tmp_path: Path) -> None:
    for i, name in enumerate(("b.png", "deep/a.png")):
        draw(tmp_path / "fakes" / name, i)
        draw(tmp_path / "reals" / name.replace("png", "bmp"), i)
    (tmp_path / "fakes" / "notes.txt").write_text("no image")
    fakes, reals = str(tmp_path / "fakes"), str(tmp_path / "reals")
    found = matched([fakes, reals])
    assert list(found) == ["b", "deep/a"]
    assert [path.suffix for path in found["deep/a"]] == [".png", ".bmp"]
    grey = decoded(found["b"])
    assert [image.shape for image in grey] == [(1, 1, 12, 10)] * 2
    assert np.array_equal(*grey)
    one = matched([str(tmp_path / "fakes" / "b.png"), str(tmp_path / "reals" / "deep" / "a.bmp")])
    assert len(one) == 1
    with pytest.raises(UsageError, match="two images or two folders"):
        matched([fakes, str(tmp_path / "reals" / "b.bmp")])
    draw(tmp_path / "reals" / "c.png", 0)
    for sides in ([fakes, reals], [reals, fakes]):
        with pytest.raises(UsageError, match=r"c\.png: no image of the same name in .*fakes"):
            matched(sides)
    draw(tmp_path / "reals" / "c.bmp", 0)
    with pytest.raises(UsageError, match="of one name"):
        pictures(reals)
    with pytest.raises(UsageError, match="no images"):
        pictures(str((tmp_path / "empty").mkdir() or tmp_path / "empty"))
    with pytest.raises(UsageError, match="no such"):
        pictures(str(tmp_path / "gone"))


def test_a_colour_beside_a_grey_image_makes_both_rgb(tmp_path: Path) -> None:
    draw(tmp_path / "grey.png", 0)
    colour = draw(tmp_path / "colour.png", 1, (12, 10, 3))
    first, second = decoded([tmp_path / "grey.png", tmp_path / "colour.png"])
    assert first.shape == second.shape == (1, 3, 12, 10)
    assert np.array_equal(second[0], colour.transpose(2, 0, 1))


def test_label_maps_are_numbers_not_colours(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    truth, answer = draws.integers(0, 4, (2, 6, 5), dtype=np.uint8), draws.integers(0, 4, (2, 6, 5), dtype=np.uint8)
    for folder, maps in (("answers", answer), ("truth", truth)):
        (tmp_path / folder).mkdir()
        for i, one in enumerate(maps):
            image = Image.fromarray(one)
            if folder == "truth":  # bright colours for the same numbers
                image = Image.fromarray(one, "L").convert("P")
                image.putdata(one.ravel().tolist())
                image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9] + [0] * 756)
            image.save(tmp_path / folder / f"{i}.png")
    found = label_maps([str(tmp_path / "answers"), str(tmp_path / "truth")])
    assert np.array_equal(found[0], answer.ravel())
    assert np.array_equal(found[1], truth.ravel())
    assert mean_iou(*found) == mean_iou(answer, truth)
    draw(tmp_path / "small.png", 0, (5, 5))
    draw(tmp_path / "colour.png", 0, (6, 5, 3))
    for name, match in (("small.png", "differ in size"), ("colour.png", "grey or has a palette")):
        with pytest.raises(UsageError, match=match):
            label_maps([str(tmp_path / name), str(tmp_path / "truth" / "0.png")])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eyes")
    net = create("lenet5(width=0.5)", num_classes=4, in_channels=1, seed=0)
    about = {"input": Input((32, 32), 1, (0.4,), (0.2,)), "classes": ("a", "b", "c", "d")}
    save(net, folder, **about)
    save(net, folder / "model.onnx", **about)
    for i in range(5):
        draw(folder / "images" / f"{i}.png", i, (20 + i, 24))
    return folder


def test_what_a_saved_network_sees(saved: Path) -> None:
    paths = list(pictures(str(saved / "images")).values())
    from danlu.codec import load_saved

    net = load_saved(saved).model
    pixels = [np.asarray(Image.open(path).resize((32, 32), Image.Resampling.BILINEAR)) for path in paths]
    x = (torch.from_numpy(np.stack(pixels))[:, None] / 255 - 0.4) / 0.2
    with torch.no_grad():
        outputs = net(x)
    last = [layer for layer in net.modules() if isinstance(layer, nn.Linear)][-1]
    for file in (saved, saved / "model.safetensors", saved / "model.onnx"):
        see = network(file, batch_size=2)
        assert torch.allclose(see(paths), outputs, atol=1e-4)
        before = see(paths, at="penultimate")
        assert before.shape == (5, last.in_features)
        assert torch.allclose(last(before), outputs, atol=1e-4)
        with pytest.raises(UsageError, match=r"unknown (layer|tensor)"):
            see(paths, at="nowhere")
    name = next(node.output[0] for node in onnx.load(str(saved / "model.onnx")).graph.node if node.op_type == "Conv")
    maps = network(saved / "model.onnx")(paths, at=name)
    first = next(layer for layer in net.modules() if isinstance(layer, nn.Conv2d))
    assert torch.allclose(maps, first(x).mean((2, 3)), atol=1e-4)
    with pytest.raises(UsageError, match="batch_size"):
        network(saved, batch_size=0)


def test_the_last_layer_that_runs_counts_not_the_last_one_made() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.body, self.spare = nn.Linear(3, 2), nn.Linear(4, 3), nn.Linear(9, 9)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.head(self.body(x).relu())
            return y

    net, x = Net(), torch.randn(6, 4)
    assert torch.allclose(features(net, x, at="penultimate", batch_size=4), net.body(x).relu(), atol=1e-6)
    with pytest.raises(UsageError, match="takes no part"):
        features(nn.ReLU(), x, at="penultimate")
    with pytest.raises(UsageError, match="did you mean penultimate"):
        features(net, x, at="penultimat")
