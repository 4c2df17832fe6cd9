"""The sample that int8 ranges are measured on."""

from collections.abc import Iterator

import numpy as np
import pytest

from danlu.data import Source, load_data
from danlu.deploy import calibration_batches


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DANLU_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield load_data("digits")


@pytest.mark.parametrize(("count", "sizes"), [(256, [32] * 8), (70, [32, 32, 6]), (5, [5])])
def test_it_has_the_size_asked_for(digits: Source, count: int, sizes: list[int]) -> None:
    batches = list(calibration_batches(digits.train, digits.input, count=count))
    assert [len(batch) for batch in batches] == sizes
    assert all(batch.dtype == np.float32 and batch.shape[1:] == digits.input.shape for batch in batches)


def test_it_is_a_shuffled_sample_of_normalised_training_images(digits: Source) -> None:
    x = np.concatenate(list(calibration_batches(digits.train, digits.input, count=64)))
    pixels = digits.train.images(np.arange(len(digits.train))).numpy()
    mean, std = (np.float32(values).reshape(1, -1, 1, 1) for values in (digits.input.mean, digits.input.std))
    seen = np.rint((x * std + mean) * 255).astype(np.uint8)
    rows = {image.tobytes(): place for place, image in reversed(list(enumerate(np.ascontiguousarray(pixels))))}
    places = [rows[image.tobytes()] for image in np.ascontiguousarray(seen)]
    assert len(set(places)) == 64
    assert places != sorted(places)
    assert max(places) > len(pixels) / 2


def test_it_depends_on_the_seed_alone(digits: Source) -> None:
    first, again, other = (next(calibration_batches(digits.train, digits.input, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
