"""Sentences for a methods section and their references, from the records of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....data.errors import some
from .records import Record

NAMES = {"flair": "FLAIR", "t1": "T1", "t1ce": "contrast-enhanced T1", "t2": "T2"}
_REFERENCES = {
    "monai": "Cardoso et al. MONAI: An open-source framework for deep learning in healthcare. "
    "arXiv:2211.02701 (2022).",
    "regions": "Baid et al. The RSNA-ASNR-MICCAI BraTS 2021 benchmark on brain tumor segmentation "
    "and radiogenomic classification. arXiv:2107.02314 (2021).",
    "deeplabv3plus": "Chen et al. Encoder-decoder with atrous separable convolution for semantic "
    "image segmentation. ECCV (2018).",
    "segresnet": "Myronenko. 3D MRI brain tumor segmentation using autoencoder regularization. "
    "BrainLes, MICCAI (2018).",
    "hd_bet": "Isensee et al. Automated brain extraction of multisequence MRI using artificial "
    "neural networks. Human Brain Mapping 40:4952-4964 (2019), doi:10.1002/hbm.24750.",
    "simpleitk": "Lowekamp et al. The design of SimpleITK. Frontiers in Neuroinformatics 7:45 "
    "(2013), doi:10.3389/fninf.2013.00045.",
}
_NETWORKS = {
    "deeplabv3plus": "a network with a DeepLabV3+ encoder for each sequence",
    "segresnet": "a 3D network with an encoder of SegResNet's residual blocks for each sequence",
}


@dataclass
class MethodsText:
    """Sentences, and the references that they number from 1."""

    sentences: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)

    def cited(self, reference: str) -> str:
        """A number in brackets for a reference."""
        if reference not in self.references:
            self.references.append(reference)
        return f"[{self.references.index(reference) + 1}]"


def methods_text(
    records: Sequence[Record], preparations: Mapping[str, Mapping[str, Any]] | None = None
) -> MethodsText:
    """What was done to the cases, in sentences that hold for these very records.

    Args:
        records: of all cases that were segmented.
        preparations: records of ``cggm prepare``, by case, of those that needed it.
    """
    text = MethodsText()
    if records:
        text.sentences.append(_whole(text, records))
        groups: dict[tuple[str, ...], list[Record]] = {}
        for record in records:
            groups.setdefault(record.weights, []).append(record)
        text.sentences += [_network(text, group, len(records)) for group in groups.values()]
        text.sentences += _preparation(text, records, preparations or {})
        text.sentences += _sequences(records)
        text.sentences.append(
            "Volumes are the number of voxels times the size of a voxel: whole tumor (WT) is NCR, "
            f"ED and ET, tumor core (TC) is NCR and ET {text.cited(_REFERENCES['regions'])}."
        )
    return text


def _whole(text: MethodsText, records: Sequence[Record]) -> str:
    subjects = len({record.subject or record.case for record in records})
    versions = _versions(record.versions for record in records)
    by = f"cggm {versions.get('cggm', '(version unknown)')}"
    monai = f"MONAI {versions['monai']} " if "monai" in versions else "MONAI "
    torch = f", PyTorch {versions['torch']}" if "torch" in versions else ""
    cavities = sum("RC" in record.volumes_ml for record in records)
    cavity = f", and the resection cavity (RC) in {_count(cavities, 'case')}," if cavities else ""
    return (
        f"Tumors in {_count(len(records), 'case')} of {_count(subjects, 'subject')} were "
        "segmented into necrotic core (NCR), edema (ED) and enhancing tumor (ET)"
        f"{cavity} with {by} ({monai}{text.cited(_REFERENCES['monai'])}{torch}; research use only)."
    )


def _network(text: MethodsText, records: Sequence[Record], total: int) -> str:
    settings, weights = records[0].settings, records[0].weights
    if not settings:
        return f"The network of {_count(len(records), 'case')} was not recorded."
    architecture = settings.get("architecture") or "deeplabv3plus"
    network = _NETWORKS.get(architecture, f"a network ({architecture})")
    if architecture in _REFERENCES:
        network += f" {text.cited(_REFERENCES[architecture])}"
    who = (
        "The masks are" if len(records) == total else f"Those of {_count(len(records), 'case')} are"
    )
    mean = f" (mean of {len(weights)} networks)" if len(weights) > 1 else ""
    digests = ", ".join(digest[:12] for digest in weights) or "not recorded"
    trained = _training(text, settings)
    return f"{who} those of {network}{mean}{trained} (SHA-256 of the weights: {digests})."


def _training(text: MethodsText, settings: Mapping[str, Any]) -> str:
    parts = []
    if method := settings.get("method"):
        parts.append(f"by the method “{method}”{_paper(text, str(method))}")
    if sequences := settings.get("sequences"):
        parts.append(f"on {_listed(sequences)}")
    dropped = _dropped(settings)
    if dropped and dropped == list(settings.get("sequences") or dropped):
        parts.append("with sequences left out at random, so that it reads any subset of them")
    elif dropped:
        parts.append(f"with {_listed(dropped)} left out at random")
    return f", trained {' '.join(parts)}" if parts else ""


def _dropped(settings: Mapping[str, Any]) -> list[str]:
    """Sequences that were hidden at random in training; the rate is one for all, or by name."""
    rates = settings.get("modality_dropout") or 0
    if not isinstance(rates, Mapping):
        rates = dict.fromkeys(settings.get("sequences") or (), rates)
    return [sequence for sequence, rate in rates.items() if rate]


def _paper(text: MethodsText, method: str) -> str:
    """The reference of a training method, where it is a published one of the catalogue."""
    from ...methods import CATALOGUE  # loads torch

    paper = CATALOGUE[method].paper if method in CATALOGUE else ""
    # A published one names its authors: "Guo, Jin, Chen, Zhao: Title. Venue Year"
    return f" {text.cited(f'{paper}.')}" if ": " in paper else ""


def _preparation(
    text: MethodsText, records: Sequence[Record], preparations: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    prepared = [record for record in records if record.prepared]
    if not prepared:
        return []
    known = [found for r in prepared if (found := preparations.get(r.case))]
    brains = {str((one.get("brain") or {}).get("by")) for one in known} or {"HD-BET"}
    versions = _versions(one.get("versions") for one in known)
    sizes = sorted({float((one.get("settings") or {}).get("spacing") or 1) for one in known} or {1})
    itk = f"SimpleITK {versions.get('SimpleITK', '')}".strip()
    itk += f" {text.cited(_REFERENCES['simpleitk'])}"
    masks = [f"HD-BET {text.cited(_REFERENCES['hd_bet'])}"] if "HD-BET" in brains else []
    masks += ["a given mask"] if brains - {"HD-BET"} else []
    return [
        f"{_of(len(prepared), len(records))} registered rigidly to one of their sequences by "
        f"Mattes mutual information ({itk}), skull-stripped by {' or '.join(masks)}, and "
        f"resampled to voxels of {' or '.join(f'{size:g}' for size in sizes)} mm; masks were "
        "brought back to the grid of each original image."
    ]


def _sequences(records: Sequence[Record]) -> list[str]:
    counts = Counter(record.sequences for record in records)
    read = [f"{_listed(subset)} in {_count(n, 'case')}" for subset, n in counts.most_common()]
    lines = [f"Sequences read: {'; '.join(read)}."]
    for region in ("WT", "TC", "ET"):
        without = [record.case for record in records if record.volumes_ml.get(region) is None]
        if without:
            lines.append(
                f"{region} was not told in {_count(len(without), 'case')} ({some(without, 5)})."
            )
    return lines


def _versions(tables: Iterable[Mapping[str, str] | None]) -> dict[str, str]:
    """Versions of packages; where they differ between cases, all of them."""
    found: dict[str, list[str]] = {}
    for table in tables:
        for package, version in (table or {}).items():
            if str(version) not in found.setdefault(package, []):
                found[package].append(str(version))
    return {package: " and ".join(versions) for package, versions in found.items()}


def _listed(sequences: Iterable[str]) -> str:
    *names, last = [NAMES.get(name, name) for name in sequences]
    return f"{', '.join(names)} and {last}" if names else last


def _of(part: int, whole: int) -> str:
    return "Images were" if part == whole else f"Images of {_count(part, 'case')} were"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
