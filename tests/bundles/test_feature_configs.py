"""The files of the bundles on features: one template, what MONAI demands, the paper's table."""

import json
from pathlib import Path
from typing import Any

import monai.bundle
import pytest
import torch
from monai.bundle import ConfigParser

from cggm.bundles import path
from cggm.bundles.generate import FOLDER, generated
from cggm.models import TransformerNetwork
from cggm.pipelines.methods import create

from .conftest import BUNDLES, Bundle

NAMES = BUNDLES[1:]
# Guo et al., Table 7; a dash there is no weight decay.
TABLE_7: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "food101": (torch.optim.AdamW, {"batch_size": 128, "weight_decay": 3e-3, "lam": 0.15}),
    "mosi": (torch.optim.Adam, {"batch_size": 64, "weight_decay": 0.0, "lam": 0.2}),
    "iemocap": (torch.optim.AdamW, {"batch_size": 32, "weight_decay": 0.0, "lam": 0.15}),
}
EPOCHS = {"food101": 80, "mosi": 30, "iemocap": 30}
ALIKE = {"lr": 1e-3, "classifier_lr": 5e-4, "max_norm": 0.8, "rho": 1.3, "rule": "paper"}


def load(name: str, config: str) -> dict[str, Any]:
    return json.loads((Path(path(name)) / config).read_text())


def test_the_files_are_what_the_template_gives() -> None:
    """What is mended in one bundle is mended in all; every setting and method is listed."""
    texts = generated()
    assert {file.split("/")[0] for file in texts} == set(BUNDLES)
    for file, text in texts.items():
        remedy = "change the template and run python -m cggm.bundles.generate"
        assert (FOLDER / file).read_text() == text, f"{file}: {remedy}"


def test_no_file_of_a_bundle_on_features_is_made_by_hand() -> None:
    for name in NAMES:
        own = {f"{name}/{file.name}" for file in (FOLDER / name).iterdir() if file.is_file()}
        assert own - {f"{name}/README.md"} <= set(generated())


@pytest.mark.parametrize("name", BUNDLES)
def test_a_setting_of_any_method_reaches_it_and_a_wrong_one_is_refused(name: str) -> None:
    parser = ConfigParser(load(name, "train.json"))
    parser.update({"methods#agm#alpha": 2.0})
    assert create("agm", parser["methods"]).settings()["alpha"] == 2.0
    parser.update({"methods#agm#alhpa": 2.0})
    with pytest.raises(ValueError, match="agm has no setting 'alhpa'; it has .*'alpha'"):
        create("agm", parser["methods"])


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_that_configs_share_has_one_default(name: str) -> None:
    configs = [load(name, c) for c in ("train.json", "evaluate.json", "inference.json")]
    for setting in ("output_dir", "split_file", "cache_dir"):
        found = [config[setting] for config in configs if setting in config]
        assert len(found) >= 2 and all(value == found[0] for value in found), setting


def test_the_paper_overlay_is_table_7(feature_bundle: Bundle, tmp_path: Path) -> None:
    """Built, not trained; width, heads and layers are the defaults, as the authors' scripts."""
    name, folder = feature_bundle.name, feature_bundle.folder
    parser = ConfigParser()
    parser.read_config([str(folder / "train.json"), str(folder / "paper.json")])
    assert set(load(name, "paper.json")) <= set(parser.config)
    optimizer, expected = TABLE_7[name]
    expected = expected | ALIKE | {"epochs": EPOCHS[name]}
    assert {setting: parser[setting] for setting in expected} == expected
    parser.update({**feature_bundle.data, "output_dir": str(tmp_path)})
    built = parser.get_parsed_content("optimizer")
    assert type(built) is optimizer
    groups = {group["name"]: group for group in built.param_groups}
    assert groups["classifiers"]["lr"] == 5e-4 and groups["fusion"]["lr"] == 1e-3
    assert {group["weight_decay"] for group in built.param_groups} == {expected["weight_decay"]}
    assert isinstance(parser.get_parsed_content("scheduler"), torch.optim.lr_scheduler.StepLR)
    method = parser.get_parsed_content("method_def")
    assert (method.rule, method.apply, method.direction) == ("paper", "gradient", "gradient")
    network = parser.get_parsed_content("network_def")
    assert isinstance(network, TransformerNetwork)
    assert (network.head.in_features, network.heads) == (40, 5)
    layers = len(network.encoders["text"].transformer.layers)
    assert layers == {"food101": 4, "mosi": 5, "iemocap": 4}[name]
    assert len(network.fusion.transformer.layers) == layers - 2


@pytest.mark.parametrize("name", NAMES)
def test_metadata_has_what_the_specification_demands(name: str, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"  # where there is one, MONAI downloads none
    schema.write_bytes((Path(__file__).parent / "metadata_schema.json").read_bytes())
    file = Path(path(name)) / "metadata.json"
    monai.bundle.verify_metadata(meta_file=str(file), filepath=str(schema))
    content = json.loads(file.read_text())
    assert content["version"] in content["changelog"]
    inputs = content["network_data_format"]["inputs"]
    assert list(inputs) == load(name, "train.json")["modalities"]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torchscript_export_is_the_network_alone(feature_bundle: Bundle, tmp_path: Path) -> None:
    feature_bundle.run("train.json", tmp_path)
    file = tmp_path / "model.ts"
    monai.bundle.ckpt_export(
        net_id="network_def",
        filepath=str(file),
        ckpt_file=str(tmp_path / "models" / "model.pt"),
        meta_file=str(feature_bundle.folder / "metadata.json"),
        config_file=str(feature_bundle.folder / "inference.json"),
        output_dir=str(tmp_path),
    )
    script = torch.jit.load(str(file))
    trained = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert {name for name, _ in script.named_parameters()} <= set(trained)
    assert set(script.state_dict()) == set(trained)
    widths = json.loads((tmp_path / "models" / "model.json").read_text())["widths"]
    lengths = torch.tensor([3, 2])
    inputs = {name: (torch.randn(2, 3, width), lengths) for name, width in widths.items()}
    prediction = script(inputs)
    assert prediction.shape[0] == 2 and bool(prediction.isfinite().all())
