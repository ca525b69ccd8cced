"""A batch of features on its way to a device."""

import torch

from cggm.pipelines.handlers.feature_batches import PrepareFeatures


def test_a_batch_reaches_the_device_with_its_types() -> None:
    batch = {
        "inputs": {"text": (torch.zeros(2, 3, 4), torch.tensor([3, 0]))},
        "label": torch.tensor([1, 0]),
        "id": ["a", "b"],
    }
    inputs, label = PrepareFeatures()(batch, "meta", non_blocking=True, dtype=torch.float16)
    values, lengths = inputs["text"]
    assert label is not None
    assert {values.device.type, lengths.device.type, label.device.type} == {"meta"}
    assert (values.dtype, lengths.dtype, label.dtype) == (
        torch.float16,
        torch.int64,
        torch.int64,
    )
    assert PrepareFeatures()({"inputs": batch["inputs"]}, "cpu")[1] is None
