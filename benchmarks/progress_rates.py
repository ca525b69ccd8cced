"""Do the encoders' rates do harm? Generated cases of which the right answer is known.

    python benchmarks/progress_rates.py --seeds 10

Four classes, two bits. Each case says which modality carries which bit, and how: *plain* evidence
is a direction, *hidden* evidence the product of two signs, which is learned late.

- noise: `first` carries both bits, `second` none. Right: `first` is left alone.
- finished: `first` carries its bit so plainly that it is learned within some steps, `second` hides
  the other. Right: `second` is not slowed because it alone still improves.
- slow: `first` carries its bit plainly, `second` hides the other. More for `second` may help.
- duplicate: both modalities are the same. Right: 1 for both.
- equal: each hides a bit of its own. Right: 1 for both.

Printed are test accuracies in percent with joint training, and for each rule the mean difference
over the seeds, its 95 % interval (paired t), and the mean factors of both encoders. Every seed
draws data, weights and batches anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cggm.pipelines.balancing import Balancer
from cggm.pipelines.methods import Joint, Method, ProgressRates

TRAINED, TESTED, WIDTH, HIDDEN, BATCH, EPOCHS = 1000, 4000, 12, 24, 50, 6
CASES = ("noise", "finished", "slow", "duplicate", "equal")
RATES = {"SGD": 0.04, "AdamW": 2e-3}
# Method and the score that it reads.
METHODS: dict[str, tuple[Callable[[], Method], str]] = {
    "progress_rates": (ProgressRates, "probability"),
    "progress_rates, shares": (lambda: ProgressRates(rule="shares"), "probability"),
}


class Network(nn.Module):
    """A small encoder per modality, one hidden layer, a linear head."""

    def __init__(self, widths: dict[str, int]) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({name: _encoder(width) for name, width in widths.items()})
        self.fusion = nn.Sequential(nn.Linear(HIDDEN * len(widths), HIDDEN), nn.ReLU())
        self.head = nn.Linear(HIDDEN, 4)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        features = [encoder(inputs[name]) for name, encoder in self.encoders.items()]
        return self.head(self.fusion(torch.cat(features, dim=1)))


def _encoder(width: int) -> nn.Module:
    layers = (nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU())
    return nn.Sequential(*layers)


def draw(case: str, seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """Inputs by modality, shape (N, D), and labels, shape (N,); the first are for training."""
    source = torch.Generator().manual_seed(seed)
    count = TRAINED + TESTED
    one, two = (2.0 * torch.randint(2, (count,), generator=source) - 1 for _ in range(2))

    def noise() -> Tensor:
        return torch.randn(count, WIDTH, generator=source)

    def plain(bit: Tensor, size: float = 2.0) -> Tensor:
        direction = torch.randn(WIDTH, generator=source)
        return noise() + size * bit[:, None] * direction / direction.norm()

    def hidden(bit: Tensor, size: float = 2.5) -> Tensor:
        directions, _ = torch.linalg.qr(torch.randn(WIDTH, 2, generator=source))
        sign = 2.0 * torch.randint(2, (count,), generator=source) - 1
        return noise() + size * torch.stack([sign, sign * bit], dim=1) @ directions.T

    both = torch.cat([plain(one), hidden(two)], dim=1)
    first, second = {
        "noise": lambda: (both, torch.cat([noise(), noise()], dim=1)),
        "finished": lambda: (plain(one, 6.0), hidden(two)),
        "slow": lambda: (plain(one), hidden(two)),
        "duplicate": lambda: (both, both),
        "equal": lambda: (hidden(one), hidden(two)),
    }[case]()
    return {"first": first, "second": second}, ((one > 0) * 2 + (two > 0)).long()


def train(
    case: str, method: Method, score: str, optimizer: str, seed: int
) -> tuple[float, list[float]]:
    """Test accuracy in percent after training, and the mean factor of each encoder."""
    inputs, labels = draw(case, seed)
    torch.manual_seed(seed)
    network = Network({name: value.shape[1] for name, value in inputs.items()})
    classifiers = nn.ModuleDict({name: nn.Linear(HIDDEN, 4) for name in inputs})
    balancer = Balancer(method, network, loss=cross_entropy, scores=score, classifiers=classifiers)
    groups = balancer.parameter_groups(lr=RATES[optimizer])
    given = {"momentum": 0.9} if optimizer == "SGD" else {}
    balancer.optimizer = getattr(torch.optim, optimizer)(groups, **given)
    factors = []
    for _ in range(EPOCHS):
        for batch in torch.randperm(TRAINED).split(BATCH):
            balancer.optimizer.zero_grad()
            with balancer.capture():
                prediction = network({name: value[batch] for name, value in inputs.items()})
            balancer.loss(prediction, labels[batch]).backward()
            with balancer.modulate():
                balancer.optimizer.step()
            factors.append(
                list(balancer.record.get("balance", dict.fromkeys(inputs, 1.0)).values())
            )
    with torch.no_grad():
        prediction = network({name: value[TRAINED:] for name, value in inputs.items()})
    right = (prediction.argmax(1) == labels[TRAINED:]).double().mean().item()
    return 100 * right, torch.tensor(factors).mean(0).tolist()


def compare(case: str, name: str, optimizer: str, joint: list[float]) -> tuple[Tensor, Tensor]:
    """Differences to joint training, shape (seeds,), and mean factors, shape (seeds, 2)."""
    make, score = METHODS[name]
    runs = [train(case, make(), score, optimizer, seed) for seed in range(len(joint))]
    accuracies, factors = zip(*runs, strict=True)
    return torch.tensor(accuracies) - torch.tensor(joint), torch.tensor(factors)


def trained_jointly(case: str, optimizer: str, seeds: int) -> list[float]:
    """Test accuracies of joint training, in percent, by seed."""
    return [train(case, Joint(), "accuracy", optimizer, seed)[0] for seed in range(seeds)]


def interval(differences: Tensor) -> float:
    """Half the 95 % interval of the mean, by the t distribution."""
    count = len(differences)
    quantile = float(stats.t.ppf(0.975, count - 1))
    return quantile * differences.std().item() / count**0.5


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--cases", default=",".join(CASES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| case | optimizer | joint | {' | '.join(METHODS)} |")
    print(f"|---|---|---:|{'---:|' * len(METHODS)}")
    for case in given.cases.split(","):
        for optimizer in RATES:
            joint = trained_jointly(case, optimizer, given.seeds)
            cells = []
            for name in METHODS:
                differences, factors = compare(case, name, optimizer, joint)
                words = " ".join(f"{factor:.2f}" for factor in factors.mean(0).tolist())
                mean = differences.mean().item()
                cells.append(f"{mean:+.1f} ± {interval(differences):.1f} ({words})")
            mean = sum(joint) / len(joint)
            print(f"| {case} | {optimizer} | {mean:.1f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
