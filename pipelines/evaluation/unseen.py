"""The samples to judge a network on: none that it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...data.errors import InputError, some
from ...data.identity import digest
from ..handlers.checkpoint_file import TRAINED_ON, Weights, description_of


def samples_to_judge(
    split: Mapping[str, Sequence[str]],
    part: str,
    *,
    ckpt_path: Weights,
    owner_of: Callable[[str], str],
) -> list[str]:
    """The names of a part, none of which the network was trained on, unless the part is train.

    Weights that tell nothing of their training, such as those of others, are not compared.

    Args:
        split: names by part.
        part: "train", "val", "test", or "all" for all samples that there are.
        ckpt_path: the weights of the network, or of several that predict together.
        owner_of: the patient or group of a name, as in training.

    Raises:
        InputError: some samples, or others of their owners, were trained on.
    """
    names = list(split[part]) if part != "all" else sorted({n for p in split.values() for n in p})
    trained = set(description_of(ckpt_path).get(TRAINED_ON, ()))
    seen = [name for name in names if digest(owner_of(name)) in trained]
    if seen and part != "train":
        remedy = "leave them out of the folder; " if part == "all" else ""
        raise InputError(
            f"{len(seen):,} of the {len(names):,} samples of the part {part} were trained on, or "
            f"belong to a patient or group that was ({some(seen, 3)}): figures on them mean "
            f"nothing; {remedy}pass the --output_dir of the training, or its split.json as "
            "--split_file. If only the names are the same, pass --samples '$@split[@part]'"
        )
    return names
