"""The binary activation against its formula, in torch, in its gradient, and through ONNX."""

import numpy as np
import onnxruntime
import pytest
import torch

from danlu.deploy.quiet import quiet_export
from danlu.nn import BinaryActivation

X = [-2.0, -1.0, -0.4, -0.0, 0.0, 0.4, 1.0, 2.0]
SIGNS = [-1, -1, -1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_zero_is_plus_one(training, dtype):
    y = BinaryActivation().train(training)(torch.tensor(X, dtype=dtype))
    assert y.tolist() == SIGNS
    assert y.dtype == dtype


@pytest.mark.parametrize("stochastic", [False, True])
def test_the_gradient_is_that_of_the_hard_tanh(stochastic):
    x = torch.tensor(X, requires_grad=True)
    torch.nn.functional.hardtanh(x).sum().backward()
    at_ends = {-1.0: 1.0, 1.0: 1.0}  # where hardtanh has no derivative and BNN passes the gradient
    expected = [at_ends.get(v, g) for v, g in zip(X, x.grad.tolist(), strict=True)]
    x.grad = None
    BinaryActivation(stochastic=stochastic)(x).sum().backward()
    assert x.grad.tolist() == expected


def test_draws_follow_the_hard_sigmoid_in_training_only():
    x = torch.tensor([-3.0, -0.5, 0.0, 0.8, 3.0]).repeat(5000, 1)
    layer = BinaryActivation(stochastic=True)
    torch.manual_seed(0)
    mean = layer(x).mean(0)
    torch.testing.assert_close(mean, x[0].clamp(-1, 1), rtol=0, atol=4 / 5000**0.5)
    assert layer.eval()(x)[0].tolist() == [-1, -1, 1, 1, 1]


def test_onnxruntime_gives_the_same_signs(tmp_path):
    net, x = torch.nn.Sequential(torch.nn.Flatten(), BinaryActivation()).eval(), torch.tensor(X).view(1, 2, 2, 2)
    with quiet_export():
        torch.onnx.export(net, (x,), dynamo=True, verbose=False, input_names=["input"]).save(tmp_path / "sign.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "sign.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"input": x.numpy()})[0], [SIGNS])
