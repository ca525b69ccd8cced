"""The files of the BraTS bundle: what MONAI demands of them, and what a reader can expect."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import monai.bundle
import pytest
import torch
from monai.bundle import ConfigParser
from torch import nn

from cggm.models import SegmentationNetwork
from cggm.pipelines.methods import CATALOGUE

from .conftest import BUNDLE, NETWORK, Bundle

CONFIGS = sorted(BUNDLE.glob("*.json"))
MANDATED = {
    "train.json": (
        "bundle_root",
        "device",
        "dataset_dir",
        "output_dir",
        "network_def",
        "train#trainer",
        "train#dataset",
        "train#dataset#data",
        "train#inferer",
        "train#handlers",
        "train#preprocessing",
        "validate#evaluator",
        "validate#handlers",
        "val_interval",
        "epochs",
        "run",
    ),
    "evaluate.json": ("bundle_root", "device", "dataset_dir", "output_dir", "network_def"),
    "inference.json": ("bundle_root", "device", "dataset_dir", "output_dir", "network_def"),
}


def entries(config: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a config with its ID."""
    items = config.items() if isinstance(config, dict) else enumerate(config)
    for key, value in items:
        yield f"{where}{key}", value
        if isinstance(value, dict | list):
            yield from entries(value, f"{where}{key}#")


@pytest.mark.parametrize("file", CONFIGS, ids=lambda path: path.name)
def test_expressions_are_short_and_name_no_lambda(file: Path) -> None:
    for where, value in entries(json.loads(file.read_text())):
        if isinstance(value, str) and value.startswith("$"):
            assert "lambda" not in value, where
            assert len(value.removeprefix("$")) <= 60, where
        if where.endswith("_target_"):
            assert not str(value).startswith("$"), where


@pytest.mark.parametrize("name", MANDATED)
def test_entries_that_monai_and_users_look_for(name: str) -> None:
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / name))
    for entry in MANDATED[name]:
        assert entry in parser, entry
    lists = ("train#handlers", "validate#handlers") if name == "train.json" else ("handlers",)
    for entry in lists:  # MONAI and its tools want components, not references, in these
        assert all(isinstance(handler, dict) for handler in parser[entry]), entry


def test_no_path_of_one_machine_is_in_a_config() -> None:
    for file in CONFIGS:
        assert not re.search(r'"/|[A-Z]:\\\\|/home|/Users', file.read_text()), file.name


def test_a_setting_that_configs_share_has_one_default() -> None:
    configs = [json.loads((BUNDLE / name).read_text()) for name in MANDATED]
    shared = ("output_dir", "layout", "cache_dir")
    for setting in shared:
        found = [config[setting] for config in configs if setting in config]
        assert len(found) >= 2 and all(value == found[0] for value in found), setting


@pytest.mark.parametrize("name", ["evaluate.json", "inference.json"])
def test_what_training_wrote_beside_the_weights_is_not_asked_again(name: str) -> None:
    config = json.loads((BUNDLE / name).read_text())
    optional = ("architecture", "patch_size", "late_fusion", "outputs", "neighbors")
    for setting in ("sequences", "encoder", "channels", "rates", *optional):
        assert config[setting].startswith("$@trained"), setting
        assert config["network"]["networks"]["description"][setting] == f"@{setting}"


def test_every_method_can_be_chosen() -> None:
    methods = json.loads((BUNDLE / "train.json").read_text())["methods"]
    assert set(methods) == set(CATALOGUE)


def test_the_paper_overlay_is_table_7(brats: Bundle, tmp_path: Path) -> None:
    """Guo et al., Table 7 and section 4.2; built, not trained."""
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "train.json"), str(BUNDLE / "paper.json")])
    assert set(json.loads((BUNDLE / "paper.json").read_text())) <= set(parser.config)
    parser.update({**brats.data, "output_dir": str(tmp_path), "batch_size": 4})
    expected = {"epochs": 150, "rho": 1.2, "lam": 0.1, "weight_decay": 3e-4, "rule": "paper"}
    assert {name: parser[name] for name in expected} == expected
    assert json.loads((BUNDLE / "paper.json").read_text())["batch_size"] == 64
    network = parser.get_parsed_content("network_def")
    blocks = [len(network.encoders["flair"].backbone.get_submodule(f"layer{i}")) for i in (1, 3)]
    assert blocks == [3, 23], "a ResNet-101"
    method = parser.get_parsed_content("method_def")
    assert (method.rho, method.lam, method.rule, method.direction) == (
        1.2,
        0.1,
        "paper",
        "gradient",
    )
    optimizer = parser.get_parsed_content("optimizer")
    assert isinstance(optimizer, torch.optim.SGD)
    scheduler = parser.get_parsed_content("scheduler")
    groups = {g["name"]: g for g in optimizer.param_groups}
    assert groups["classifiers"]["initial_lr"] == 6e-3
    assert groups["encoder/t1ce"]["initial_lr"] == groups["fusion"]["initial_lr"] == 1e-2
    length = len(parser.get_parsed_content("train#dataloader"))
    (factor_at, *_) = scheduler.lr_lambdas
    rates = [1e-2 * factor_at(epoch * length) for epoch in (0, 10, 150)]
    assert rates == pytest.approx([4e-4, 1e-2, 1e-3])
    assert len(parser.get_parsed_content("train#dataset")) == 4, "one slice a case and epoch"


def test_metadata_has_what_the_specification_demands(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"  # where there is one, MONAI downloads none
    schema.write_bytes((Path(__file__).parent / "metadata_schema.json").read_bytes())
    meta = BUNDLE / "metadata.json"
    monai.bundle.verify_metadata(meta_file=str(meta), filepath=str(schema))
    content = json.loads(meta.read_text())
    assert content["version"] in content["changelog"]
    del content["network_data_format"]["outputs"]["pred"]["channel_def"]
    (tmp_path / "metadata.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="Failed validating"):
        monai.bundle.verify_metadata(
            meta_file=str(tmp_path / "metadata.json"), filepath=str(schema)
        )


def test_metadata_names_the_channels_in_the_order_of_the_sequences() -> None:
    formats = json.loads((BUNDLE / "metadata.json").read_text())["network_data_format"]
    image, pred = formats["inputs"]["image"], formats["outputs"]["pred"]
    sequences = json.loads((BUNDLE / "train.json").read_text())["sequences"]
    assert image["channel_def"] == {str(i): s for i, s in enumerate(sequences)}
    assert image["num_channels"] == 4
    assert list(pred["channel_def"].values())[0] == "background"
    assert len(pred["channel_def"]) == pred["num_channels"] == 4


@pytest.mark.parametrize("config", ["train.json", "inference.json", "evaluate.json"])
def test_network_takes_and_gives_what_metadata_says(config: str, trained: Path) -> None:
    of_weights = {"ckpt_path": str(trained / "models" / "model.pt")}
    monai.bundle.verify_net_in_out(
        net_id="network_def",
        meta_file=str(BUNDLE / "metadata.json"),
        config_file=str(BUNDLE / config),
        n=2,
        device="cpu",
        **(NETWORK if config == "train.json" else of_weights),
    )


def test_torchscript_export_is_the_network_alone(trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.ts"
    monai.bundle.ckpt_export(
        net_id="network_def",
        filepath=str(file),
        ckpt_file=str(trained / "models" / "model.pt"),
        meta_file=str(BUNDLE / "metadata.json"),
        config_file=str(BUNDLE / "inference.json"),
        ckpt_path=str(trained / "models" / "model.pt"),
    )
    extra = {"metadata.json": ""}
    script = torch.jit.load(str(file), _extra_files=extra)
    assert json.loads(extra["metadata.json"])["task"].startswith("Multimodal brain tumor")
    network = SegmentationNetwork(**NETWORK, rates=(1, 2, 3)).eval()
    network.load_state_dict(torch.load(trained / "models" / "model.pt", weights_only=True))
    image = torch.randn(2, 4, 48, 50, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(script(image), network(image), atol=1e-5)
    names = {name for name, _ in script.named_parameters()}
    assert names == {name for name, _ in network.named_parameters()}
    assert not any("classifier" in name for name, _ in script.named_modules())
    assert isinstance(script, nn.Module)
