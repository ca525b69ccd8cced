"""Backbones found by name, filled from files, or refused with a readable sentence."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cggm.models import SegmentationNetwork
from cggm.models.backbones import build_backbone

NAME = "resnet18"


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """An ImageNet-like state dict: three colors and a classifier at the end."""
    backbone, _ = build_backbone(NAME, None)
    state = dict(backbone.state_dict())
    state["conv1.weight"] = torch.randn(64, 3, 7, 7)
    state["fc.weight"] = torch.randn(1000, 512)
    return state


def saved(folder: Path, content: object) -> str:
    path = folder / "weights.pth"
    torch.save(content, path)
    return str(path)


@pytest.mark.parametrize("prefix", ["", "encoder.", "module.model."])
def test_weights_from_a_file_fill_every_encoder(
    tmp_path: Path, state: dict[str, Tensor], prefix: str
) -> None:
    path = saved(tmp_path, {"state_dict": {prefix + key: state[key] for key in state}})
    network = SegmentationNetwork(["t1", "t2"], encoder=NAME, weights=path, channels=16)
    for name in ("t1", "t2"):
        backbone = network.encoders[name].get_submodule("backbone")
        filled = backbone.state_dict()
        assert torch.equal(filled["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
        assert torch.equal(filled["conv1.weight"], state["conv1.weight"].sum(1, keepdim=True))


@torch.no_grad()
def test_colors_fill_a_backbone_for_several_slices(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    """Equal slices are answered as the original answers to gray; three take the colors' places."""
    path = saved(tmp_path, state)
    gray = torch.rand(1, 1, 32, 32)
    colors, _ = build_backbone(NAME, path, 3)
    assert torch.equal(colors.state_dict()["conv1.weight"], state["conv1.weight"])
    expected = colors.eval()(gray.repeat(1, 3, 1, 1))[-1]
    for slices in (1, 5):
        backbone, _ = build_backbone(NAME, path, slices)
        found = backbone.eval()(gray.repeat(1, slices, 1, 1))[-1]
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_weights_of_timm_need_no_prefix(tmp_path: Path) -> None:
    backbone, _ = build_backbone("tu-test_resnet", None)
    model = backbone.get_submodule("model")
    path = saved(tmp_path, model.state_dict())
    filled, _ = build_backbone("tu-test_resnet", path)
    for one, other in zip(filled.parameters(), backbone.parameters(), strict=True):
        assert torch.equal(one, other)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    content = {key: value for key, value in state.items() if not key.startswith("layer1.0.conv")}
    content["surprise"] = torch.zeros(1)
    content["conv1.weight"] = torch.zeros(64, 1, 3, 3)
    with pytest.raises(ValueError) as error:
        build_backbone(NAME, saved(tmp_path, content))
    for part in (
        "2 missing (layer1.0.conv1.weight, layer1.0.conv2.weight)",
        "1 unexpected (surprise)",
        "1 of another shape (conv1.weight)",
    ):
        assert part in str(error.value)


def test_files_that_hold_no_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no state dict of tensors"):
        build_backbone(NAME, saved(tmp_path, [1, 2]))
    with pytest.raises(ValueError, match="cannot be read as a state dict"):
        build_backbone(NAME, saved(tmp_path, nn.Linear(1, 1)))  # code, not tensors
    text = tmp_path / "page.pth"
    text.write_text("<!DOCTYPE html>")
    with pytest.raises(ValueError, match="cannot be read as a state dict"):
        build_backbone(NAME, str(text))
    with pytest.raises(ValueError, match="none.pth does not exist"):
        build_backbone(NAME, str(tmp_path / "none.pth"))


def test_unknown_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="'resnet18' has no weights 'imgenet'.*imagenet"):
        build_backbone(NAME, "imgenet")


@pytest.mark.parametrize(
    ("name", "near"),
    [("resnet81", "resnet18"), ("tu-resnet10", "tu-resnet10t"), ("zzz", "nearest names")],
)
def test_unknown_encoders_are_refused(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"no encoder is called '{name}'.*{near}"):
        build_backbone(name, None)


def test_encoders_that_take_one_size_only_are_refused() -> None:
    with pytest.raises(ValueError, match="takes no image of 64x64"):
        build_backbone("tu-swin_tiny_patch4_window7_224", None)
