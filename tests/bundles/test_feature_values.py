"""Features that are not finite, refused by file and sample."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from cggm.data.features.feature_set import open_feature_set
from cggm.pipelines.commands.failures import explain

from .conftest import Bundle


@pytest.mark.parametrize("part", ["train", "val"])
def test_features_that_are_not_finite(feature_bundle: Bundle, part: str, tmp_path: Path) -> None:
    """Those of training are read for their mean before anything is trained."""
    folder = Path(shutil.copytree(feature_bundle.data["dataset_dir"], tmp_path / "set"))
    features = open_feature_set(folder)
    split = feature_bundle.workflow("train.json", tmp_path / "x", dataset_dir=str(folder))
    split.initialize()
    name = split.parser.get_parsed_content("split")[part][0]
    text = features.files["text"]
    values = np.load(folder / "text.npy", mmap_mode="r+")
    values[int(text.ends[text.ids.index(name)]) - 1, 0] = np.nan if part == "train" else np.inf
    with pytest.raises(RuntimeError) as error:
        feature_bundle.run("train.json", tmp_path / "out", dataset_dir=str(folder), epochs=1)
    assert explain(error.value) == (
        f"error: {folder / 'text.npy'}: the features of {name} hold NaN or infinite values; "
        "extract them again, or leave the sample out"
    )
    assert not list((tmp_path / "out").rglob("*.pt"))
