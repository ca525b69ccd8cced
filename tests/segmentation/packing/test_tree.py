"""What `cggm pack` writes: a card that says what is known, and all or nothing."""

import hashlib
import json
from pathlib import Path

import monai.bundle
import pytest
import torch

from cggm import Segmenter
from cggm.data.errors import InputError
from cggm.data.identity import digest
from cggm.pipelines.commands.pack import main
from cggm.pipelines.segmentation.packing.export import parity
from cggm.pipelines.segmentation.packing.tree import large_files, read_model
from cggm.pipelines.segmentation.trained import trained_network

from .models import VOLUMES, packed, write_model

FILES = [
    "LICENSE",
    "NOTICE",
    "configs/inference.json",
    "configs/logging.conf",
    "configs/metadata.json",
    "docs/README.md",
    "docs/data_license.txt",
    "models/model.json",
    "models/model.pt",
]


def listing(folder: Path) -> list[str]:
    return sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())


def tell(model: Path, **entries: object) -> None:
    """Change what lies beside some weights."""
    file = model / "models" / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def test_the_card_says_what_the_network_was_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, bundle = write_model(tmp_path / "model", **VOLUMES), tmp_path / "bundle"
    with pytest.raises(InputError, match="pass --data, such as --data 'BraTS 2021"):
        main(model, bundle)
    assert not bundle.exists()
    main(model, bundle, data="noise", weights_license="CC0", version="1.2.3")
    assert "its accuracy is unknown: cggm evaluate brats --subsets True" in capsys.readouterr().out
    assert listing(bundle) == FILES
    card = (bundle / "docs" / "README.md").read_text()
    assert card.startswith("# bundle\n") and "Trained on: noise;" in card
    assert "Weights: CC0" in card and "never evaluated" in card and "$" not in card
    meta = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert meta["version"] == "1.2.3" and meta["data_source"] == "noise"
    assert meta["eval_metrics"] == {}
    tell(model, trained_on=[digest("Phantom_00003"), digest("Phantom_00047")])
    main(model, bundle)
    card = (bundle / "docs" / "README.md").read_text()
    assert "Trained on: synthetic gliomas (no patients); 2 cases" in card


def test_the_card_says_what_each_subset_is_worth(tmp_path: Path) -> None:
    """And so does a Segmenter of the packed weights, which are other bytes than those measured."""
    model = write_model(tmp_path / "model", **VOLUMES, sequences=["flair", "t1ce"])
    figures = {
        f"{r}_{n}": v
        for r in ("WT", "TC", "ET")
        for n, v in zip(("dice", "low", "high"), (81.25, 70.0, 90.0), strict=True)
    }
    rows = [{"sequences": s, "cases": 7, **figures} for s in ("flair", "t1ce", "flair+t1ce")]
    weights = hashlib.sha256((model / "models" / "model.pt").read_bytes()).hexdigest()
    table = {"weights": weights, "data": "noise", "part": "test", "what": "Dice", "subsets": rows}
    (model / "models" / "subsets.json").write_text(json.dumps(table))
    tell(model, modality_dropout={"flair": 0.5, "t1ce": 0.0})
    bundle = packed(model, tmp_path / "bundle")
    card = (bundle / "docs" / "README.md").read_text()
    assert "| flair | 7 | 81.2 [70.0, 90.0] | 81.2 [70.0, 90.0] | ET not reliable" in card
    assert "| flair+t1ce | 7 | 81.2 [70.0, 90.0] | 81.2" in card
    assert "This network was never trained without t1ce" in card
    meta = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert meta["eval_metrics"]["mean_volumetric_dice_percent_WT"] == 81.25
    assert Segmenter.from_folder(bundle, device="cpu").table["data"] == "noise"


def test_all_or_nothing(tmp_path: Path) -> None:
    model, bundle = write_model(tmp_path / "model", **VOLUMES), tmp_path / "bundle"
    packed(model, bundle)
    (bundle / "docs" / "mine.txt").write_text("mine")
    before = {name: (bundle / name).read_bytes() for name in listing(bundle)}
    with pytest.raises(InputError, match=r"holds files that no packed bundle has \(docs/mine.txt"):
        packed(model, bundle)
    weights = model / "models" / "model.pt"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(InputError, match="model.pt (is damaged|cannot be read)"):
        packed(model, bundle)
    assert {name: (bundle / name).read_bytes() for name in listing(bundle)} == before
    assert sorted(f.name for f in tmp_path.iterdir()) == ["bundle", "model"]


def test_what_is_not_one_model_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no model in"):
        main(tmp_path, tmp_path / "bundle", data="noise")
    with pytest.raises(InputError, match="a bundle holds one network"):
        read_model([tmp_path, tmp_path])


@pytest.mark.slow
def test_torchscript_is_the_network_for_every_subset(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", **VOLUMES)
    main(model, tmp_path / "bundle", data="noise", torchscript=True)
    report = json.loads((tmp_path / "bundle" / "docs" / "parity.json").read_text())
    assert len(report["torchscript"]) == 15 and max(report["torchscript"].values()) < 1e-4
    script = torch.jit.load(str(tmp_path / "bundle" / "models" / "model.ts"))
    network, sequences = trained_network(model / "models" / "model.pt")
    image = torch.randn(1, 4, 16, 24, 8)
    with torch.no_grad():
        assert torch.allclose(script(image), network(image), atol=1e-4)
        for tensor in network.state_dict().values():
            tensor.mul_(2)
        shape = {"num_channels": 4, "spatial_shape": ["8*n"] * 3}
        with pytest.raises(InputError, match="the exported network differs from the trained one"):
            parity(network, script, sequences, shape)


def test_large_files_are_listed_as_monai_reads_it(tmp_path: Path) -> None:
    """Where a file lies already and its hash is right, MONAI needs no address."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.pt").write_bytes(b"x" * 1000)
    assert large_files(tmp_path) == ""
    text = large_files(tmp_path, limit=999)
    (tmp_path / "large_files.yml").write_text(text)
    monai.bundle.download_large_files(str(tmp_path))
    assert (tmp_path / "models" / "model.pt").read_bytes() == b"x" * 1000
