"""The shortcut with weights, against the strided matrix product that it is."""

import torch

from danlu.nn import ProjectionShortcut


def test_is_a_matrix_at_every_second_pixel():
    torch.manual_seed(0)
    layer = ProjectionShortcut(3, 5, stride=2).double().eval()
    layer[1].running_mean.normal_()
    layer[1].running_var.uniform_(0.5, 2)
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    y = torch.einsum("oi,bihw->bohw", layer[0].weight[:, :, 0, 0], x[:, :, ::2, ::2])
    y = (y - layer[1].running_mean[:, None, None]) / (layer[1].running_var[:, None, None] + layer[1].eps).sqrt()
    torch.testing.assert_close(layer(x), y)
    assert sorted(layer.state_dict()) == sorted(["0.weight", *(f"1.{key}" for key in layer[1].state_dict())])
    assert torch.autograd.gradcheck(layer, (x[:1].requires_grad_(),))
