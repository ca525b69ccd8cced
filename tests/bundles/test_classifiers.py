"""Evaluation of a bundle's classifiers on the test part, each with its own encoder."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cggm.data.errors import InputError
from cggm.pipelines.evaluation.classifiers import ByClassifier, evaluate_classifiers
from cggm.pipelines.research.experiments.bundles import open_bundle

from .conftest import Bundle


def evaluated(bundle: Bundle, out: Path) -> dict[str, Path]:
    opened = open_bundle(bundle.name)
    given = bundle.settings("train.json", out)
    return evaluate_classifiers(opened.train, opened.evaluate, out, given)


def test_classifiers_are_judged_as_the_network_is(bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # A last layer of zeros makes every prediction the bias, so its score is known.
    workflow = bundle.run("train.json", out, method="joint", score_modalities=True)
    classifiers = workflow.parser.get_parsed_content("classifiers")
    assert set(torch.load(out / "models" / "classifiers.pt")) == set(classifiers.state_dict())
    first = next(iter(classifiers))
    with torch.no_grad():
        classifiers[first].head.weight.zero_()
        classifiers[first].head.bias.copy_(torch.arange(len(classifiers[first].head.bias)))
    torch.save(classifiers.state_dict(), out / "models" / "classifiers.pt")

    written = evaluated(bundle, out)
    assert list(written) == list(classifiers)
    content = json.loads(written[first].read_text())
    bundle.run("evaluate.json", out)
    whole = json.loads((out / "evaluation" / "evaluation.json").read_text())
    assert content["data"] == whole["data"] and content["part"] == "test"
    if bundle.name == "brats":
        # The last class everywhere, ET: all three regions are predicted in every pixel.
        assert content["patients"] == whole["patients"]
        assert 0 < content["volumetric"]["WT"]["mean"] < 60
        return
    assert content["samples"] == whole["samples"]
    features = workflow.parser.get_parsed_content("features")
    split = json.loads((out / "split.json").read_text())["test"]
    truth = np.array([float(features.labels[name]) for name in split])
    if bundle.name == "mosi":
        assert content["figures"]["mae"]["value"] == pytest.approx(abs(truth).mean(), abs=1e-3)
    else:
        share = 100 * (truth == len(classifiers[first].head.bias) - 1).mean()
        assert content["figures"]["accuracy"]["value"] == pytest.approx(share, abs=0.01)

    before = written[first].stat().st_mtime_ns
    assert evaluated(bundle, out)[first].stat().st_mtime_ns == before, "not done again"
    (out / "models" / "classifiers.pt").touch()
    assert evaluated(bundle, out)[first].stat().st_mtime_ns > before, "unless they are new"


def test_scores_of_modalities_are_recorded_on_request_and_change_no_weight(
    bundle: Bundle, tmp_path: Path
) -> None:
    weights, records = {}, {}
    for scored in (False, True):
        out = tmp_path / str(scored)
        given = {"score_modalities": True} if scored else {}
        bundle.run("train.json", out, method="joint", **given)
        weights[scored] = torch.load(out / "models" / "last.pt")["network"]
        records[scored] = (out / "modulation.csv").read_text().splitlines()
        assert (out / "models" / "classifiers.pt").is_file() is scored
    assert weights[True].keys() == weights[False].keys()
    for name, tensor in weights[True].items():
        assert torch.equal(tensor, weights[False][name]), name
    header = records[False][0].split(",")
    score, norm = header.index("score"), header.index("gradient_norm")
    first = {scored: lines[1].split(",") for scored, lines in records.items()}
    assert first[True][score] and not first[False][score]
    assert first[True][norm] == first[False][norm]


def test_a_classifier_sees_its_own_modality(bundle: Bundle, tmp_path: Path) -> None:
    workflow = bundle.workflow(
        "train.json", tmp_path / "out", method="joint", score_modalities=True
    )
    workflow.initialize()
    network = workflow.parser.get_parsed_content("network_def").eval()
    classifiers = workflow.parser.get_parsed_content("classifiers").eval()
    batch = next(iter(workflow.parser.get_parsed_content("train#dataloader")))
    prepare = workflow.parser.get_parsed_content("train#trainer").prepare_batch
    inputs, label, *_ = prepare(batch, torch.device("cpu"), False)
    for name, classifier in classifiers.items():
        with torch.no_grad():
            found = ByClassifier(network, name, classifier).eval()(inputs)
            expected = classifier(network.encode(inputs)[name])
        if bundle.name == "brats":
            assert found.shape[2:] == label.shape[2:]
            expected = expected[:, :, : label.shape[2], : label.shape[3]]
        torch.testing.assert_close(found, expected)


def test_a_training_without_classifiers_is_refused(brats: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"classifiers\.pt is missing: a training leaves"):
        evaluated(brats, tmp_path)
