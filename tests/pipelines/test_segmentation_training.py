"""CGGM on the BraTS bundle's own network: which gradients does it touch, and by how much?"""

import pytest
import torch
from monai.engines import SupervisedTrainer
from torch import Tensor
from torch.utils.data import DataLoader

from cggm.models import SegmentationNetwork, segmentation_classifiers
from cggm.pipelines import DiceCELoss, Modulation, RegionDice, Task, parameter_groups
from cggm.pipelines.methods import CGGM, Joint, Method


def first_gradients(method: Method) -> tuple[dict[str, Tensor], Modulation]:
    """Gradients at the first optimizer step, by parameter name, and the handler."""
    torch.manual_seed(0)
    network = SegmentationNetwork(encoder="tu-test_resnet", channels=16, rates=(1, 2, 3))
    classifiers = segmentation_classifiers(network)
    loss = DiceCELoss()
    modulation = Modulation(method, network, Task(loss, RegionDice()), classifiers)
    data = [
        {"image": torch.randn(4, 32, 32), "label": torch.randint(0, 4, (1, 32, 32))}
        for _ in range(4)
    ]
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=DataLoader(data, batch_size=4),
        network=network,
        optimizer=torch.optim.SGD(parameter_groups(network, classifiers, lr=0.1)),
        loss_function=loss,
        train_handlers=[modulation],
        decollate=False,
    )
    trainer.run()
    gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    gradients |= {f"classifiers.{n}": p.grad for n, p in classifiers.named_parameters()}
    return gradients, modulation


@pytest.mark.parametrize("rule", ["bounded", "paper"])
def test_each_sequence_gets_its_own_factor_and_nothing_else_is_touched(rule: str) -> None:
    changed, modulation = first_gradients(CGGM(rule=rule, lam=0.0, direction="none"))
    plain, _ = first_gradients(Joint())
    balance = modulation.record["balance"]
    assert len(set(balance.values())) > 1
    touched = {sequence: 0 for sequence in balance}
    for name, gradient in plain.items():
        parts = name.split(".")
        sequence = parts[1] if parts[0] == "encoders" else None
        factor = 1.0 if sequence is None else balance[sequence]
        torch.testing.assert_close(changed[name], factor * gradient, rtol=1e-5, atol=1e-9, msg=name)
        if sequence is not None and gradient.any():
            touched[sequence] += 1
    # What would have caught a modulation that matches no parameter: none may be left out.
    assert min(touched.values()) > 20
    assert len(set(touched.values())) == 1


def test_direction_reaches_every_encoder_of_the_network() -> None:
    changed, _ = first_gradients(CGGM(rule="none", lam=0.5))
    plain, _ = first_gradients(Joint())
    for part in ("encoders.flair", "encoders.t1.", "encoders.t1ce", "encoders.t2", "fusion"):
        names = [name for name in plain if name.startswith(part)]
        assert any(not torch.allclose(changed[n], plain[n], rtol=1e-3) for n in names), part
