"""The BraTS bundle with the network for volumes: train, resume, evaluate, segment, export."""

import json
from pathlib import Path

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
import torch

from cggm import Segmenter
from cggm.data.brats.cases import find_cases
from cggm.models import VolumetricNetwork
from cggm.pipelines.commands.failures import explain

from .conftest import BUNDLE, Bundle

VOLUMES = {"architecture": "segresnet", "channels": 8, "patch_size": 16, "batch_size": 2}


@pytest.fixture(scope="module")
def volumes(brats: Bundle) -> Bundle:
    return Bundle("brats", brats.data, training={"val_interval": 1, "lr": 1e-3} | VOLUMES)


@pytest.fixture(scope="module")
def trained(volumes: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of two epochs with CGGM; not to be written into."""
    out = tmp_path_factory.mktemp("volumes")
    volumes.run("train.json", out, epochs=2)
    return out


def test_a_resumed_training_is_the_one_that_was_not_stopped(
    volumes: Bundle, trained: Path, tmp_path: Path
) -> None:
    parts: dict[str, object] = {"scheduler#epochs": 2}
    volumes.run("train.json", tmp_path, epochs=1, **parts)
    volumes.run("train.json", tmp_path, epochs=2, resume=True, **parts)
    one, two = (
        torch.load(out / "models" / "last.pt", weights_only=True)["network"]
        for out in (trained, tmp_path)
    )
    assert one.keys() == two.keys()
    assert all(torch.equal(value, two[key]) for key, value in one.items())


def test_what_is_beside_the_weights_tells_evaluation_and_inference(
    volumes: Bundle, trained: Path, tmp_path: Path
) -> None:
    described = json.loads((trained / "models" / "model.json").read_text())
    assert (described["architecture"], described["patch_size"]) == ("segresnet", 16)
    weights = {"ckpt_path": str(trained / "models" / "last.pt")}
    split = str(trained / "split.json")
    volumes.run("evaluate.json", tmp_path, split_file=split, subsets=True, **weights)
    rows = (tmp_path / "evaluation" / "subsets.csv").read_text().splitlines()
    assert len(rows) == 16
    case = find_cases(volumes.data["dataset_dir"])[0]
    folder = tmp_path / "in" / case.name
    folder.mkdir(parents=True)
    arrays = {}
    for name in ("flair", "t1ce"):
        file = case.images[name].path
        (folder / file.name).write_bytes(file.read_bytes())
        arrays[name] = np.asarray(nib.load(file).dataobj)
    settings = weights | {"dataset_dir": str(tmp_path / "in"), "allow_missing": True}
    volumes.run("inference.json", tmp_path / "out", overlays=False, **settings)
    mask = nib.load(tmp_path / "out" / "masks" / f"{case.name}.nii.gz")
    result = Segmenter.from_folder(trained).segment(arrays, mask.affine, probabilities=True)
    assert np.array_equal(result.codes("brats2021"), np.asarray(mask.dataobj))
    assert result.probabilities is not None and result.classes.any()
    assert np.array_equal(result.probabilities.argmax(0), result.classes)
    with pytest.raises(RuntimeError) as error:
        volumes.run("inference.json", tmp_path, architecture="deeplabv3plus", **settings)
    assert "was trained with architecture segresnet" in str(explain(error.value))


def test_torchscript_export_is_the_network_alone(trained: Path, tmp_path: Path) -> None:
    file, weights = tmp_path / "model.ts", trained / "models" / "model.pt"
    monai.bundle.ckpt_export(
        net_id="network_def",
        filepath=str(file),
        ckpt_file=str(weights),
        meta_file=str(BUNDLE / "metadata.json"),
        config_file=str(BUNDLE / "inference.json"),
        ckpt_path=str(weights),
    )
    network = VolumetricNetwork(channels=8).eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    image = torch.randn(1, 4, 16, 9, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(torch.jit.load(str(file))(image), network(image), atol=1e-5)


def test_an_unknown_architecture_is_one_sentence(volumes: Bundle, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as error:
        volumes.run("train.json", tmp_path, architecture="unet")
    assert "architecture is 'unet'; it is one of" in str(explain(error.value))
