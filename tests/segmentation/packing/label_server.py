"""What MONAI Label does with a bundle: the calls of its `BundleInferTask`, without the package.

Read from monailabel/tasks/infer/{bundle,basic_infer}.py, written anew; left out are its server, its
writer and its cache.
"""

import json
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, SaveImaged


class BundleTask:
    """A bundle as MONAI Label serves it.

    Args:
        folder: of the bundle.
    """

    def __init__(self, folder: Path) -> None:
        self.config = ConfigParser()
        self.config.read_config(str(folder / "configs" / "inference.json"))
        self.config.config["bundle_root"] = str(folder)
        self.network = self.config.get_parsed_content("network_def", instantiate=True)
        meta = json.loads((folder / "configs" / "metadata.json").read_text())
        formats = meta["network_data_format"]
        self.image_key, image = next(iter(formats["inputs"].items()))
        self.accepts = image["num_channels"]
        self.pred_key, pred = next(iter(formats["outputs"].items()))
        self.labels = {
            name: int(i) for i, name in pred["channel_def"].items() if name != "background"
        }
        content = torch.load(folder / "models" / "model.pt", map_location="cpu")
        state = content.get("model", content)
        self.network.load_state_dict(state, strict=False)
        self.network.eval()

    def transforms(self, key: str) -> list[Any]:
        found = self.config.get_parsed_content(key, instantiate=True)
        return list(found.transforms) if isinstance(found, Compose) else found

    def __call__(self, image: Path, device: str = "cpu") -> tuple[torch.Tensor, Any]:
        """Segment a file.

        Returns:
            The mask (X, Y, Z) on the axes of the file, and the affine it is written with.
        """
        self.config.config["device"] = device
        data: dict[str, Any] = {"image": str(image), "image_path": str(image)}
        for transform in self.transforms("preprocessing"):
            data = transform(data)
        inferer = self.config.get_parsed_content("inferer", instantiate=True)
        inputs = data[self.image_key]
        with torch.no_grad():
            data[self.pred_key] = inferer(inputs[None].to(torch.device(device)), self.network)[0]
        for transform in self.transforms("postprocessing"):
            if not isinstance(transform, SaveImaged):
                data = transform(data)
        reference, mask = data[self.image_key], data[self.pred_key]
        assert isinstance(reference, MetaTensor)
        # Its `Restored` would resize a mask of another shape, and takes the first channel.
        assert list(mask.shape[1:]) == list(reference.meta["spatial_shape"])[-3:]
        return mask[0], reference.meta["original_affine"]
