"""Normalisations: against loops and closed forms, in batches, in saved models and in exported files."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from danlu import create
from danlu.codec import load_saved, save
from danlu.data import Input, Source, batches, load_data, normalizations
from danlu.data.normalise import exponent
from danlu.deploy import predict, preprocess, read_metadata
from danlu.errors import UsageError
from danlu.train.teacher import Teacher

NAMES = normalizations.names()


@pytest.fixture(scope="module")
def sources() -> dict[str, Source]:
    return {name: load_data("digits", normalize=name) for name in NAMES}


def levels(source: Source) -> np.ndarray:
    """The grey levels of all training images, one channel. Shape: float64 [N]."""
    return source.train.take(np.arange(len(source.train))).numpy().astype(np.float64).ravel()


def all_x(source: Source) -> torch.Tensor:
    return torch.cat([x for x, _ in batches(source.train, source.input, 512)]).double()


def test_z_score_and_min_max_by_their_formulas(sources: dict[str, Source]) -> None:
    v = levels(sources["z_score"])
    assert load_data("digits").input == sources["z_score"].input
    assert sources["z_score"].input.mean == pytest.approx([v.mean() / 255])
    assert sources["z_score"].input.std == pytest.approx([v.std() / 255])
    x = all_x(sources["min_max"])
    assert (x.min(), x.max()) == (0, 1)
    torch.testing.assert_close(x.flatten(), torch.from_numpy((v - v.min()) / (v.max() - v.min())), rtol=1e-6, atol=1e-6)
    both = all_x(load_data("digits", normalize="min_max(low=-1)"))
    torch.testing.assert_close(both, 2 * x - 1, rtol=1e-6, atol=1e-6)


def test_a_boosted_range_comes_from_the_training_images_alone(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(40, 200, (40, 6, 6, 1), dtype=np.uint8)
    pixels[30:] = 255  # the test images
    labels = np.arange(40) % 2
    np.savez(tmp_path / "set.npz", x_train=pixels[:30], y_train=labels[:30], x_test=pixels[30:], y_test=labels[30:])
    source = load_data(tmp_path / "set.npz", normalize="min_max")
    v = levels(source)
    assert source.input.mean[0] * 255 == pytest.approx(v.min())
    assert source.input.std[0] * 255 == pytest.approx(v.max() - v.min())


def test_box_cox_finds_the_likeliest_exponent(sources: dict[str, Source]) -> None:
    rng = np.random.default_rng(0)
    for p, x in (
        (0.0, np.exp(rng.normal(3, 0.4, 20_000))),
        (0.5, rng.normal(10, 1.2, 20_000) ** 2),
        (1.0, rng.normal(120, 20, 20_000)),
    ):
        counts = np.bincount(np.clip(np.rint(x), 1, 256).astype(int) - 1, minlength=256)
        assert exponent(counts, np.arange(1, 257)) == pytest.approx(p, abs=0.06)
    source = sources["box_cox"]
    v = levels(source) + 1
    found = exponent(np.bincount((v - 1).astype(int), minlength=256), np.arange(1, 257))

    def transformed(p: float) -> np.ndarray:
        return np.log(v) if abs(p) < 1e-9 else (v**p - 1) / p

    def likelihood(p: float) -> float:
        return (p - 1) * np.log(v).sum() - len(v) / 2 * math.log(transformed(p).var())

    assert likelihood(found) >= max(likelihood(p) for p in np.linspace(found - 0.5, found + 0.5, 41)) - 1e-6 * len(v)
    y = transformed(found)
    torch.testing.assert_close(all_x(source).flatten(), torch.from_numpy((y - y.mean()) / y.std()), rtol=1e-4, atol=1e-4)


def test_equalize_is_the_share_of_darker_pixels(sources: dict[str, Source]) -> None:
    source = sources["equalize"]
    v = levels(source)
    curve = np.array(source.input.curve[0])
    darkest = (v <= v.min()).mean()
    for level in (0, 16, 100, 255):
        assert curve[level] == pytest.approx(((v <= level).mean() - darkest) / (1 - darkest), abs=1e-6)
    assert (np.diff(curve) >= 0).all()
    x = all_x(source)
    assert float(x.mean()) == pytest.approx(0, abs=1e-5)
    assert float(x.std()) == pytest.approx(1, abs=1e-4)


def test_equalize_makes_a_smooth_histogram_flat(tmp_path: Path) -> None:
    dark = np.clip(np.random.default_rng(0).gamma(3, 12, (60, 16, 16, 1)), 0, 255).astype(np.uint8)
    np.savez(tmp_path / "set.npz", x=dark, y=np.arange(60) % 2)
    source = load_data(tmp_path / "set.npz", normalize="equalize")
    v = np.array(source.input.curve[0])[levels(source).astype(int)]
    assert np.abs(np.histogram(v, 8, (0, 1))[0] / len(v) - 1 / 8).max() < 0.03
    assert np.abs(np.histogram(levels(source), 8, (0, 256))[0] / len(v) - 1 / 8).max() > 0.3


def test_it_travels_with_every_file(sources: dict[str, Source], tmp_path: Path) -> None:
    source = sources["box_cox"]
    torch.manual_seed(0)
    net = create("resnet8 | fit_input(size=8)", num_classes=10, in_channels=1).eval()
    with torch.no_grad():
        expected = torch.cat([net(x) for x, _ in batches(source.test, source.input, 512)])
    other = load_data("digits")
    for file in ("model", "model.danlu", "model.onnx"):
        save(net, tmp_path / file, input=source.input, classes=source.classes)
        if file == "model.onnx":
            got = torch.from_numpy(predict(tmp_path / file, other.test))
        else:
            saved = load_saved(tmp_path / file)
            assert saved.input == source.input
            with torch.no_grad():
                model = saved.model.eval()
                got = torch.cat([model(x) for x, _ in batches(other.with_input(saved.input).test, saved.input, 512)])
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)
    image = other.test.images([0]).numpy()[0, 0]
    Image.fromarray(image).save(tmp_path / "one.png")
    x = preprocess(tmp_path / "one.png", read_metadata(tmp_path / "model.onnx"))
    first, _ = next(iter(batches(source.test, source.input, 1)))
    np.testing.assert_allclose(x, first.numpy(), rtol=1e-5, atol=1e-5)


def test_another_size_is_fitted_anew(sources: dict[str, Source]) -> None:
    small = sources["min_max"].at(4)
    v = levels(small)
    assert small.input.std[0] * 255 == pytest.approx(v.max() - v.min())
    curved = sources["equalize"].at(4).input.curve
    assert curved
    assert curved != sources["equalize"].input.curve


def test_it_can_be_changed_and_streams(sources: dict[str, Source], tmp_path: Path) -> None:
    changed = sources["z_score"].normalized("box_cox")
    assert (changed.input, changed.normalize) == (sources["box_cox"].input, "box_cox")
    assert changed.normalized("z_score").input == sources["z_score"].input
    pixels = np.random.default_rng(0).integers(0, 256, (24, 6, 6, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        (tmp_path / "set" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "set" / "ab"[i % 2] / f"{i}.png")
    held = load_data(tmp_path / "set", normalize="equalize")
    streamed = load_data(tmp_path / "set", normalize="equalize", stream_above=1)
    assert (held.train.streams, streamed.train.streams) == (False, True)
    assert held.input == streamed.input


def test_a_constant_channel_is_told_and_stays_finite(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
    pixels[..., 1] = 77
    np.savez(tmp_path / "set.npz", x=pixels, y=np.arange(20) % 2)
    for name in NAMES:
        source = load_data(tmp_path / "set.npz", normalize=name)
        assert any("channel 1 is constant over the training images" in text for text in source.health.warnings), name
        x = all_x(source)
        assert x.isfinite().all()
        assert x[:, 1].abs().max() < 1e-4
    pixels[::2, 0, 0, 1] = 78
    np.savez(tmp_path / "faint.npz", x=pixels, y=np.arange(20) % 2)
    warnings = load_data(tmp_path / "faint.npz").health.warnings
    assert any("channel 1 hardly changes over the training images" in text for text in warnings)


def test_a_teacher_of_another_curve_is_refused(sources: dict[str, Source]) -> None:
    net, curved, plain = nn.Flatten(), sources["box_cox"].input, sources["z_score"].input
    Teacher(net, curved, curved)
    for knows, sees in ((curved, plain), (plain, curved)):
        with pytest.raises(UsageError, match="different curves of the grey levels"):
            Teacher(net, knows, sees)


def test_wrong_names_options_and_curves() -> None:
    with pytest.raises(UsageError, match=r"unknown normalization 'minmax'; did you mean min_max"):
        load_data("digits", normalize="minmax")
    with pytest.raises(UsageError, match="low must be below high, got low=2 and high=1"):
        load_data("digits", normalize="min_max(low=2)")
    with pytest.raises(UsageError, match="shift must be above 0 grey levels, got 0"):
        load_data("digits", normalize="box_cox(shift=0)")
    with pytest.raises(UsageError, match="256 values for each of 1 channels"):
        Input((8, 8), 1, (0.0,), (1.0,), curve=((0.0, 1.0),))


def test_every_entry_says_what_it_is() -> None:
    for entry in normalizations:
        assert entry.summary
        assert all(option.default is not option.empty for option in entry.options().values())
        assert f"| `{entry.name}` |" in (Path(__file__).parents[2] / "docs" / "activations.md").read_text()


def test_the_command_line_trains_saves_and_judges_with_it(tmp_path: Path) -> None:
    from danlu.cli import main

    main.register()
    words = ["train", "resnet8 | fit_input(size=8)", "digits", "--steps", "2", "--normalize", "equalize", "--out", str(tmp_path)]
    done = CliRunner().invoke(main.app, [*words, "--precision", "fp32", "--memory-format", "nchw", "--json", "-q"])
    assert done.exit_code == 0, done.stderr
    run = json.loads(done.stdout)["run"]
    about = json.loads((Path(run) / "model.json").read_text())
    assert len(about["input"]["curve"][0]) == 256
    again = CliRunner().invoke(main.app, ["evaluate", run, "digits", "--split", "val", "--json", "-q"])
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout)["accuracy"] == pytest.approx(json.loads(done.stdout)["val_accuracy"])
