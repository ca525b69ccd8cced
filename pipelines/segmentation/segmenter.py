"""Segmentation from Python: images of one patient in, classes and volumes on their grid out."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...data.brats.cases import Case, Source
from ...data.brats.conventions import label_convention_named, region_volumes
from ...data.brats.nifti import Volume, read_case, volume_of_arrays, write_mask
from ...data.brats.normalization import Box
from ...data.device import device_named
from ...data.errors import InputError
from ..balancing.modality_dropout import subset_warning
from ..handlers.checkpoint_file import Weights, description_of, files_of
from .averaging import averaged
from .case_dataset import network_input, presence
from .outputs import (
    class_probabilities,
    classes_of,
    mask_convention,
    told_classes,
    told_regions,
)
from .quality.confidence import confidence
from .reliability import expected_dice, removed_remark, subset_table, untold_regions
from .small_enhancing import drop_small_et, small_et_remark, smallest_et
from .trained import trained_network, weights_in
from .window_inference import case_inferer


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The result for one patient, on the axes and shape (X, Y, Z) of the input.

    Attributes:
        classes: 0 background, 1 NCR, 2 ED, 3 ET, uint8 (X, Y, Z); 4 RC, the resection cavity, of a
            network with outputs "cavity".
        volumes: of WT, TC and ET, and of RC where the network tells it, in milliliters; NaN for a
            region that cannot be told from these sequences, such as ET without ``t1ce``.
        sequences: those that the network saw.
        expected: the Dice that masks from this subset had when the weights were evaluated, or that
            it is unknown.
        remarks: what cannot be told from this subset, whether the network was trained for it,
            tumor removed outside the brain, and whether ET was too small to be believed.
        probabilities: of the classes, float32 (4, X, Y, Z), or (5, X, Y, Z) with RC, small ET still
            among them; None unless asked for.
    """

    classes: np.ndarray
    volumes: dict[str, float]
    sequences: tuple[str, ...]
    expected: str
    remarks: tuple[str, ...]
    confidence: dict[str, float | None]
    probabilities: np.ndarray | None = None

    def codes(self, label_convention: str) -> np.ndarray:
        """Give the classes as a label convention writes them, uint8 (X, Y, Z).

        Args:
            label_convention: ``brats2021`` (1, 2, 4), ``brats2023`` (1, 2, 3), ``brats2024`` (1, 2,
                3, and 4 for RC) or ``msd`` (2, 1, 3) for NCR, ED, ET.

        Raises:
            InputError: there is no such convention, or it has no value for a cavity that is there.
        """
        return label_convention_named(label_convention).from_classes(self.classes)


class Segmenter:
    """A trained network that segments one patient at a time, as ``inference.json`` does.

    Any of the network's sequences may be absent; it is left out of the fusion. Images must be
    skull-stripped (exactly 0 outside the brain), co-registered and on one grid. Research use only.

    Args:
        network: takes slices (B, S, X, Y) and ``present``, see
            :class:`cggm.models.SegmentationNetwork`; or volumes, where its weights say so.
        sequences: names of its S channels.
        weights: its files, when it has some; beside them lies what it was trained for and what each
            subset of the sequences is worth.
        device: where it computes; the first GPU when there is one, else the CPU.
        batch_size: slices, or windows of volumes, per forward pass; None takes 32 or 2.
        flips: also segment the images flipped left-right, front-back and both ways, and take the
            mean of the four predictions.
        outputs: kind of the network's outputs, where no weights tell it.
    """

    def __init__(
        self,
        network: nn.Module,
        sequences: Sequence[str],
        *,
        weights: Weights | None = None,
        device: str | torch.device | None = None,
        batch_size: int | None = None,
        flips: bool = False,
        outputs: str = "classes",
    ) -> None:
        self.device = device_named(device)
        self.network = averaged(network, flips=flips).to(self.device).eval()
        self.sequences = tuple(sequences)
        self.trained = {} if weights is None else description_of(weights)
        self.outputs: str = self.trained.get("outputs", outputs)
        self.inferer = case_inferer(self.trained.get("patch_size"), batch_size)
        self.table = {} if weights is None else subset_table(weights)
        self.smallest_et = 0.0 if weights is None else smallest_et(weights)

    @classmethod
    def from_folder(
        cls,
        path: Weights,
        *,
        device: str | torch.device | None = None,
        batch_size: int | None = None,
        flips: bool = False,
    ) -> Segmenter:
        """Load a model that ``train.json`` left.

        Args:
            path: its output folder, the folder ``models`` in it, or the path of the weights; a list
                of these, such as the folds of a cross-validation, segments by their mean.
            device: as for the class.
            batch_size: likewise.
            flips: likewise.

        Raises:
            InputError: there is no model, its ``model.json`` does not say how it was built, or
                several are not alike.
        """
        weights = [weights_in(one) for one in files_of(path)]
        network, sequences = trained_network(weights)
        return cls(
            network,
            sequences,
            weights=weights,
            device=device,
            batch_size=batch_size,
            flips=flips,
        )

    def segment(
        self,
        images: Mapping[str, np.ndarray],
        affine: np.ndarray,
        *,
        probabilities: bool = False,
    ) -> Segmentation:
        """Segment arrays.

        Args:
            images: intensities by sequence, such as ``{"flair": array}``, all of shape (X, Y, Z).
            affine: (4, 4), from voxels to mm along RAS+ axes, as nibabel gives it.
            probabilities: return them too.

        Raises:
            InputError: a sequence is not the network's, or an image cannot be used.
        """
        self._check_names(images)
        return self.segment_volume(volume_of_arrays(images, affine), probabilities)[0]

    def segment_files(
        self,
        files: Mapping[str, str | Path],
        output: str | Path | None = None,
        *,
        label_convention: str | None = None,
        probabilities: bool = False,
    ) -> Segmentation:
        """Segment NIfTI files, and write the mask on their grid.

        The result has the axes of the first file in the network's order of sequences.

        Args:
            files: path by sequence, ``.nii`` or ``.nii.gz``.
            output: the mask to write (axes, shape, affine and codes of the input); None writes
                nothing.
            label_convention: of the mask, see :meth:`Segmentation.codes`; by default ``brats2021``,
                or ``brats2024`` where the network tells RC.
            probabilities: return them too.

        Raises:
            InputError: a sequence is not the network's, a file cannot be used, the mask cannot be
                written, or its convention has no value for a class of the network.
        """
        self._check_names(files)
        convention = mask_convention(self.outputs, label_convention, "brats2021")
        sources = {name: Source(Path(path)) for name, path in files.items()}
        name = next(iter(sources.values())).path.name.partition(".")[0]
        volume = read_case(Case(name, sources, None, None, "brats2018"), self.sequences)
        result, mask = self.segment_volume(volume, probabilities)
        if output is not None:
            write_mask(mask, volume.native, output, convention)
        return result

    @torch.no_grad()
    def segment_volume(
        self, volume: Volume, probabilities: bool = False
    ) -> tuple[Segmentation, np.ndarray]:
        """Segment a volume in memory, as :func:`cggm.data.brats.nifti.read_case` gives it.

        Args:
            volume: its sequences are the network's.
            probabilities: return them too.

        Returns:
            The result on the input's axes, and the classes along RAS+ axes, uint8 (X, Y, Z).

        Raises:
            InputError: an image has no brain, or no contrast.
        """
        shape = next(iter(volume.images.values())).shape
        classes = np.zeros(shape, np.uint8)
        image, box, brain = network_input(volume.images, self.sequences)
        inside = classes[box]  # a view
        told = told_classes(self.outputs)
        likely: np.ndarray = np.zeros((len(told), *inside.shape), np.float32)
        likely[0] = 1  # background wherever the network does not look
        present = presence(volume.images, self.sequences)[0].to(self.device)
        batches = self.inferer.logits(
            image[0].to(self.device), self.network, present=present, brain=brain[0]
        )
        removed = 0
        with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
            for chosen, logits in batches:
                removed += sum(self.inferer.removed)
                slices = chosen.numpy()
                inside[..., slices] = classes_of(logits).permute(1, 2, 0).cpu().numpy()
                likelihood = class_probabilities(logits).permute(1, 2, 3, 0)
                likely[..., slices] = likelihood.cpu().numpy()
        small = drop_small_et(torch.from_numpy(classes), volume.voxel_ml, self.smallest_et)
        native = volume.native
        untold, names = untold_regions(volume.images), list(volume.images)
        remarks = [*untold.values(), subset_warning(self.trained, names)]
        remarks.append(removed_remark(removed) if removed else None)
        remarks.append(small_et_remark(small) if small else None)
        regions = told_regions(self.outputs)
        result = Segmentation(
            native.restored(classes),
            region_volumes(classes, volume.voxel_ml, regions) | dict.fromkeys(untold, math.nan),
            tuple(names),
            expected_dice(self.table, names),
            tuple(remark for remark in remarks if remark),
            confidence(likely, inside, regions) | dict.fromkeys(untold),
            _whole(likely, box, volume) if probabilities else None,
        )
        return result, classes

    def _check_names(self, names: Collection[str]) -> None:
        """Refuse sequences that the network does not have."""
        unknown = [name for name in names if name not in self.sequences]
        if unknown or not names:
            what = f"the network has no sequence {unknown[0]!r}" if unknown else "no image is given"
            raise InputError(
                f"{what}; it was trained with {', '.join(self.sequences)}: give one or more of "
                "these"
            )


def _whole(likely: np.ndarray, box: Box, volume: Volume) -> np.ndarray:
    """Probabilities (C, x, y, z) in a box on the input's axes and shape, background around it."""
    whole: np.ndarray = np.zeros(next(iter(volume.images.values())).shape, np.float32)
    parts = []
    for number, part in enumerate(likely):
        whole[:] = number == 0
        whole[box] = part
        parts.append(volume.native.restored(whole.copy()))
    return np.stack(parts)
