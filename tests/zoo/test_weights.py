"""Weight files: what is taken, what is left as it was, and what is refused before anything is copied."""

import contextlib
import os

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from danlu.errors import UsageError
from danlu.zoo import load_weights, models


def net(name="resnet8", classes=10, **options):
    return models[name].build(num_classes=classes, **options)


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def write(tensors, path):
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_every_tensor_arrives(tmp_path, suffix):
    source, target = net(), net()
    source.bn1.running_mean += 1
    report = load_weights(target, write(state(source), tmp_path / f"w{suffix}"))
    assert same(state(target), state(source))
    assert set(report.matched) == source.state_dict().keys()
    assert (report.missing, report.unexpected, report.reshaped) == ((), (), ())
    assert str(report) == f"{len(report.matched)} tensors loaded"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: {"state_dict": tensors, "epoch": 3},
        lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
        lambda tensors: {"state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}},
        lambda tensors: {"model": {f"_orig_mod.{name}": tensor for name, tensor in tensors.items()}, "optimizer": {"lr": 0.1}},
    ],
    ids=["wrapper", "DataParallel", "both", "compiled"],
)
def test_wrappers_and_prefixes_are_removed(tmp_path, wrap):
    source, target = net(), net()
    load_weights(target, write(wrap(state(source)), tmp_path / "w.pth"))
    assert same(state(target), state(source))


def test_half_precision_and_the_old_pickle_format(tmp_path):
    source, target = net(), net()
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state(source).items()}
    torch.save(halves, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    load_weights(target, tmp_path / "old.pth")
    assert target.conv1.weight.dtype == torch.float32
    torch.testing.assert_close(target.conv1.weight, source.conv1.weight, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["resnet8", "squeezenet1_1", "lenet5_caffe", "allconv6"])
def test_another_class_count_leaves_the_classifier_and_says_so(tmp_path, name):
    source, target = net(name, 10), net(name, 7)
    before = state(target)
    report = load_weights(target, write(state(source), tmp_path / "w.safetensors"))
    after = state(target)
    assert report.reshaped == tuple(after)[-2:]
    assert set(report.matched) | set(report.reshaped) == after.keys()
    for key in after:
        expected = before if key in report.reshaped else source.state_dict()
        assert torch.equal(after[key], expected[key]), key
    assert report.reshaped[0] in str(report)


def test_partial_loading_takes_what_fits_by_name_and_shape_and_reports_the_rest(tmp_path):
    source, target = net("resnet14", 7), net("resnet8", in_channels=1)
    before, tensors = state(target), state(source)
    report = load_weights(target, write(tensors, tmp_path / "w.safetensors"), partial=True)
    after = state(target)
    fits = {name for name in before if name in tensors and tensors[name].shape == before[name].shape}
    assert set(report.matched) == fits
    assert set(report.reshaped) == {"conv1.weight", "fc.weight", "fc.bias"}
    assert set(report.unexpected) == tensors.keys() - before.keys()
    assert report.missing == ()
    assert all(torch.equal(after[name], (tensors if name in fits else before)[name]) for name in after)
    assert f"{len(fits)} tensors loaded; 3 left as initialised, of another shape in the file: conv1.weight, fc.weight" in str(
        report
    )
    assert "30 not in the net: layer1.1.bn1.bias" in str(report)
    back = load_weights(net("resnet14", 7), write(after, tmp_path / "back.pth"), partial=True)
    assert set(back.missing) == set(report.unexpected)
    assert set(back.to_json()["missing"]) == set(report.unexpected)
    assert f"{len(report.unexpected) - 6} left as initialised, not in the file" in str(back)  # six are counters of batch norms


def test_partial_loading_of_nothing_is_refused(tmp_path):
    target = net()
    before = state(target)
    with pytest.raises(UsageError, match="no tensor for this net"):
        load_weights(target, write(state(net("lenet5_caffe")), tmp_path / "w.pth"), partial=True)
    assert same(state(target), before)


@pytest.mark.parametrize(
    ("other", "options", "says"),
    [
        ("resnet14", {}, "30 not in the net: layer1.1.bn1.bias [16]"),
        ("lenet5_caffe", {}, "not in the file"),
        ("resnet8", {"width": 0.5}, "conv1.weight is [8, 3, 3, 3], wanted [16, 3, 3, 3]"),
        ("resnet8", {"in_channels": 1}, "conv1.weight is [16, 1, 3, 3], wanted [16, 3, 3, 3]"),
        ("resnet8", {"in_channels": 1, "classes": 7}, "fc.weight is [7, 64], wanted [10, 64]"),
    ],
    ids=["deeper", "other family", "narrower", "other input", "other input and classes"],
)
def test_the_weights_of_another_net_change_nothing(tmp_path, other, options, says):
    target = net()
    before = state(target)
    path = write(state(net(other, **options)), tmp_path / "other.safetensors")
    with pytest.raises(UsageError) as caught:
        load_weights(target, path)
    message = str(caught.value)
    assert says in message
    assert str(path) in message
    assert len(message) < 2000
    assert same(state(target), before)


def test_a_long_list_of_names_is_bounded(tmp_path):
    with pytest.raises(UsageError, match=r"and \d+ more"):
        load_weights(net("resnet56"), write(state(net("resnet18")), tmp_path / "w.pth"))


def test_a_classifier_that_differs_in_more_than_its_classes_is_refused(tmp_path):
    source = state(net(classes=10))
    for weight, bias in [((7, 32), (7,)), ((7, 64), (10,)), ((10, 64), (7,)), ((7, 64), (6,)), ((7, 64, 1), (7,))]:
        wrong = {"fc.weight": torch.zeros(weight), "fc.bias": torch.zeros(bias)}
        with pytest.raises(UsageError, match="of another shape"):
            load_weights(net(), write(source | wrong, tmp_path / "w.safetensors"))


def test_counters_may_lack_or_be_left_over(tmp_path):
    source, target = net(), net()
    tensors = {name: tensor for name, tensor in state(source).items() if not name.endswith("num_batches_tracked")}
    report = load_weights(target, write(tensors | {"conv1.total_ops": torch.zeros(1)}, tmp_path / "w.pth"))
    assert len(report.missing) == sum(isinstance(module, nn.BatchNorm2d) for module in target.modules())
    assert report.unexpected == ("conv1.total_ops",)
    assert torch.equal(target.fc.weight, source.fc.weight)


class Payload:
    """Unpickling it would make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("wrap", [lambda thing: thing, lambda thing: {"conv1.weight": thing}, lambda thing: [thing]])
def test_python_objects_are_refused_and_not_run(tmp_path, wrap):
    torch.save(wrap(Payload(tmp_path / "harm")), tmp_path / "evil.pth")
    with pytest.raises(UsageError, match=r"evil\.pth is damaged, or holds Python objects"):
        load_weights(net(), tmp_path / "evil.pth")
    assert not (tmp_path / "harm").exists()


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(net(), tmp_path / "model.pt")
    with pytest.raises(UsageError, match=r"save model\.state_dict\(\) instead"):
        load_weights(net(), tmp_path / "model.pt")


@pytest.mark.parametrize("thing", [torch.zeros(3), [torch.zeros(3)], {}, {"state_dict": {}}, {"a": 1}, {1: torch.zeros(1)}, 5])
def test_a_file_without_named_tensors_is_refused(tmp_path, thing):
    torch.save(thing, tmp_path / "w.pth")
    with pytest.raises(UsageError, match="named tensors"):
        load_weights(net(), tmp_path / "w.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_damaged_file_is_named(tmp_path, suffix):
    whole = write(state(net()), tmp_path / f"whole{suffix}").read_bytes()
    damaged = tmp_path / f"damaged{suffix}"
    pieces = [b"", b"hello", whole[:1], whole[:100], whole[: len(whole) // 2], whole[:-1], b"\0" * 64 + whole[64:], whole[8:]]
    for piece in pieces:
        damaged.write_bytes(piece)
        target = net()
        before = state(target)
        with pytest.raises(UsageError, match=f"damaged{suffix}"):
            load_weights(target, damaged)
        assert same(state(target), before)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_flipped_bytes_never_end_in_a_traceback(tmp_path, suffix):
    whole = write(state(net(width=0.25)), tmp_path / f"whole{suffix}").read_bytes()
    damaged = tmp_path / f"damaged{suffix}"
    for position in range(0, min(len(whole), 6000), 97):
        damaged.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        # A flip within a tensor's data cannot be seen; any other must be a UsageError, and nothing else may leave here.
        with contextlib.suppress(UsageError):
            assert load_weights(net(width=0.25), damaged).matched


@pytest.mark.parametrize(
    ("name", "says"),
    [("no.pth", "there is no such file"), ("w.onnx", "allowed: .safetensors, .pth, .pt"), ("d.pt", "no such file")],
)
def test_a_path_that_is_no_weight_file_is_refused(tmp_path, name, says):
    (tmp_path / "d.pt").mkdir()
    with pytest.raises(UsageError, match=says):
        load_weights(net(), tmp_path / name)
