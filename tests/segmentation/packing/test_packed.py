"""A packed bundle in the hands of others: MONAI, its model zoo's checks, MONAI Label."""

import json
import shutil
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.data import MetaTensor

from cggm import Segmenter
from cggm.data.errors import InputError
from cggm.pipelines.commands.failures import explain
from cggm.pipelines.segmentation.trained import trained_network

from .label_server import BundleTask
from .models import SETTINGS, VOLUMES, images, packed, write_4d, write_model

SCHEMA = Path(__file__).parents[2] / "bundles" / "metadata_schema.json"
TURNED = np.array([[-2.0, 0, 0, 11], [0, 0, -1.0, 7], [0, 3.0, 0, -5], [0, 0, 0, 1]])
KINDS: dict[str, dict[str, Any]] = {
    "slices": {},
    "volumes": VOLUMES,
    "regions": {"outputs": "regions"},
    "cavity": {"outputs": "cavity"},
    "neighbors": {"neighbors": 1},
}
NAME = "brats_mri_cggm_segmentation"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """A model of a kind and its bundle, made once; not to be written into."""

    @cache
    def make(kind: str) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp(kind)
        model = write_model(folder / "model", smallest_et=0.05, **KINDS[kind])
        return model, packed(model, folder / NAME)

    return make


@pytest.fixture
def model(made: Callable[[str], tuple[Path, Path]]) -> Path:
    return made("slices")[0]


@pytest.fixture
def bundle(made: Callable[[str], tuple[Path, Path]]) -> Path:
    return made("slices")[1]


@pytest.mark.parametrize("kind", [pytest.param("slices", marks=pytest.mark.slow), "volumes"])
def test_the_checks_of_the_model_zoo(
    kind: str, made: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    model, bundle = made(kind)
    for file in ("LICENSE", "docs/README.md", "docs/data_license.txt", "models/model.pt"):
        assert (bundle / file).stat().st_size > 100
    meta_file = str(bundle / "configs" / "metadata.json")
    config_file = str(bundle / "configs" / "inference.json")
    meta = json.loads(Path(meta_file).read_text())
    assert meta["version"] in meta["changelog"] and "cggm" in meta["required_packages_version"]
    schema = tmp_path / "schema.json"
    shutil.copy(SCHEMA, schema)
    monai.bundle.verify_metadata(meta_file=meta_file, filepath=str(schema))
    monai.bundle.verify_net_in_out(
        net_id="network_def", meta_file=meta_file, config_file=config_file, bundle_root=str(bundle)
    )  # 16 x 16 pixels, or 8 x 8 x 8 voxels
    exported = tmp_path / "verify_model.ts"
    monai.bundle.ckpt_export(
        net_id="network_def",
        filepath=str(exported),
        ckpt_file=str(bundle / "models" / "model.pt"),
        meta_file=meta_file,
        config_file=config_file,
        bundle_root=str(bundle),
    )
    network, _ = trained_network(model / "models" / "model.pt")
    image = torch.randn(1, 4, *[32] * (3 if kind == "volumes" else 2))
    present = torch.tensor([True, False, True, True])
    with torch.no_grad():
        script = torch.jit.load(str(exported))
        assert torch.allclose(script(image, present), network(image, present), atol=1e-5)


def test_monai_finds_all_properties(bundle: Path) -> None:
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / "inference.json"),
        workflow_type="infer",
        bundle_root=str(bundle),
        datalist=[],
    )
    workflow.initialize()
    assert workflow.check_properties() == []


def test_load_gives_the_trained_network_and_leaves_no_trace(
    model: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = monai.bundle.load(
        NAME, bundle_dir=bundle.parent, workflow_type="inference", device="cpu"
    )
    assert isinstance(loaded, torch.nn.Module) and not any(tmp_path.iterdir())
    network, _ = trained_network(model / "models" / "model.pt")
    image = torch.randn(2, 4, 48, 32)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(image), network(image))


@pytest.mark.parametrize(
    "kind",
    [
        "slices",
        "volumes",
        pytest.param("regions", marks=pytest.mark.slow),
        pytest.param("neighbors", marks=pytest.mark.slow),
    ],
)
def test_monai_label_gives_the_masks_of_the_segmenter(
    kind: str, made: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    """Of all sequences and of some; turned axes, voxels of 6 mm^3, a speck beside the brain."""
    model, bundle = made(kind)
    task, segmenter = BundleTask(bundle), Segmenter.from_folder(model, device="cpu")
    assert task.labels == {"necrotic core": 1, "edema": 2, "enhancing tumor": 3}
    assert task.accepts == (12 if kind == "neighbors" else 4)
    for subset in (SETTINGS["sequences"], ["flair", "t2"]):
        shown = {name: image for name, image in images().items() if name in subset}
        mask, affine = task(write_4d(tmp_path / "image.nii.gz", shown, TURNED))
        assert np.allclose(affine, TURNED)
        expected = segmenter.segment(shown, TURNED).classes
        assert len(np.unique(expected)) > 1
        assert np.array_equal(mask.numpy(), expected)


def test_small_enhancing_tumor_is_counted_as_ncr(bundle: Path) -> None:
    """Where all of it has less than 0.05 ml, 8 voxels of 6 mm^3 and no more."""
    image = MetaTensor(torch.zeros(4, 3, 3, 3), affine=torch.from_numpy(TURNED))
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    drop = parser.get_parsed_content("postprocessing#transforms#0")
    for voxels, left in ((8, 0), (9, 9)):
        classes = torch.zeros(1, 3, 3, 3, dtype=torch.uint8)
        classes.view(-1)[:voxels] = 3
        result = drop({"image": image, "pred": classes})["pred"]
        assert int((result == 3).sum()) == left and int((result == 1).sum()) == voxels - left
        assert int((classes == 3).sum()) == voxels, "the prediction was changed"


@pytest.mark.parametrize("layout", ["one file", "a file per sequence"])
def test_a_run_writes_masks_on_the_axes_of_its_files(
    layout: str, model: Path, bundle: Path, tmp_path: Path
) -> None:
    shown = images(1)
    if layout == "one file":
        name, suffix = "P1", ""
        write_4d(tmp_path / "in" / "P1.nii.gz", shown, TURNED)
    else:
        name, suffix = "P1", "_flair"
        for sequence, image in shown.items():
            file = tmp_path / "in" / "P1" / f"P1_{sequence}.nii.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(image, TURNED), file)
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / "inference.json"),
        workflow_type="infer",
        bundle_root=str(bundle),
        dataset_dir=str(tmp_path / "in"),
        output_dir=str(tmp_path / "out"),
    )
    workflow.initialize()
    workflow.run()
    mask = nib.load(tmp_path / "out" / f"{name}{suffix}_seg.nii.gz")
    assert np.allclose(mask.affine, TURNED) and mask.get_data_dtype() == np.uint8
    expected = Segmenter.from_folder(model, device="cpu").segment(shown, TURNED).classes
    assert np.array_equal(np.asarray(mask.dataobj), expected)


def sentence(error: BaseException) -> str:
    line = explain(error)
    assert line is not None, "a fault of the program"
    return line


@pytest.mark.parametrize("changed", [{"rates": [6, 12, 18]}, {"channels": 32}])
def test_a_setting_that_is_not_the_weights_is_refused(
    changed: dict[str, Any], bundle: Path, tmp_path: Path
) -> None:
    """Dilations change no tensor's shape: nothing but the record could tell."""
    copy = tmp_path / NAME
    shutil.copytree(bundle, copy)
    file = copy / "configs" / "inference.json"
    config = json.loads(file.read_text())
    config["network_def"] |= changed
    file.write_text(json.dumps(config))
    (name, value) = next(iter(changed.items()))
    for build in (
        lambda: monai.bundle.load(NAME, bundle_dir=tmp_path, workflow_type="inference"),
        lambda: BundleTask(copy),
    ):
        with pytest.raises(RuntimeError) as error:
            build()
        assert f"{name} {value} (trained: {SETTINGS[name]})" in sentence(error.value)


def test_another_order_of_sequences_is_refused(bundle: Path) -> None:
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    parser["sequences"] = ["t1", "flair", "t1ce", "t2"]
    with pytest.raises(RuntimeError) as error:
        parser.get_parsed_content("network_def")
    assert "sequences ['t1', 'flair', 't1ce', 't2'] (trained: ['flair'" in sentence(error.value)


@pytest.mark.parametrize("settings", [{**VOLUMES, "channels": 16}, {}], ids=["wider", "other"])
def test_weights_of_another_network_are_refused(
    settings: dict[str, Any], made: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    """Without this MONAI goes on with what fits, and the rest at random."""
    _, bundle = made("volumes")
    other = write_model(tmp_path / "other", **settings)
    shutil.copytree(bundle, tmp_path / NAME)
    shutil.copy(other / "models" / "model.pt", tmp_path / NAME / "models" / "model.pt")
    with pytest.raises(InputError, match="the weights belong to another network than network_def"):
        monai.bundle.load(NAME, bundle_dir=tmp_path, workflow_type="inference", device="cpu")
    with pytest.raises(InputError, match="they do not give encoders.flair"):
        BundleTask(tmp_path / NAME)


def test_without_weights_there_is_no_random_network(bundle: Path) -> None:
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    network = parser.get_parsed_content("network_def").eval()
    with torch.no_grad():
        assert network(torch.randn(1, 4, 32, 32)).isnan().all()


@pytest.mark.parametrize("installed", ["not there", "too old"])
def test_without_cggm_the_version_needed_is_said(
    installed: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / NAME
    shutil.copytree(bundle, copy)
    if installed == "not there":
        monkeypatch.setitem(sys.modules, "cggm", None)  # as Python marks what cannot be imported
    else:
        file = copy / "configs" / "inference.json"
        file.write_text(file.read_text().replace('"version": "0.', '"version": "99.'))
    for build in (
        lambda: monai.bundle.load(NAME, bundle_dir=tmp_path, workflow_type="inference"),
        lambda: BundleTask(copy),
    ):
        with pytest.raises(RuntimeError) as error:
            build()
        reasons: list[str] = []
        link: BaseException | None = error.value
        while link is not None:
            reasons.append(str(link))
            link = link.__cause__ or link.__context__
        assert any(
            f"needs the Python package cggm {version('cggm')} or newer" in line for line in reasons
        )
