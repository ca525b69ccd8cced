"""What did the paper publish besides its comparisons: Tables 5, 6 and 7?"""

from __future__ import annotations

# Table 5: accuracy on IEMOCAP. The paper's video is the bundle's vision.
CLASSIFIERS = {
    "audio": {"unimodal": 52.18, "joint": 50.59, "cggm": 54.95},
    "vision": {"unimodal": 54.55, "joint": 53.04, "cggm": 56.77},
    "text": {"unimodal": 65.35, "joint": 67.15, "cggm": 67.39},
}

# Table 6: accuracy and F1 on IEMOCAP.
ABLATION = {
    "joint": {"accuracy": 70.74, "f1_weighted": 69.53},
    "magnitude": {"accuracy": 72.35, "f1_weighted": 71.56},
    "direction": {"accuracy": 72.41, "f1_weighted": 72.07},
    "both": {"accuracy": 73.74, "f1_weighted": 73.18},
}

# Table 7, by bundle, under the names that train.json has for them; None where the paper has "-".
RECIPES: dict[str, dict[str, float | str | None]] = {
    "food101": {
        "batch_size": 128,
        "optimizer": "AdamW",
        "lr": 1e-3,
        "classifier_lr": 5e-4,
        "weight_decay": 3e-3,
        "max_norm": 0.8,
        "scheduler": "StepLR",
        "rho": 1.3,
        "lam": 0.15,
        "warmup_epochs": None,
        "epochs": 80,
    },
    "mosi": {
        "batch_size": 64,
        "optimizer": "Adam",
        "lr": 1e-3,
        "classifier_lr": 5e-4,
        "weight_decay": None,
        "max_norm": 0.8,
        "scheduler": "StepLR",
        "rho": 1.3,
        "lam": 0.20,
        "warmup_epochs": None,
        "epochs": 30,
    },
    "iemocap": {
        "batch_size": 32,
        "optimizer": "AdamW",
        "lr": 1e-3,
        "classifier_lr": 5e-4,
        "weight_decay": None,
        "max_norm": 0.8,
        "scheduler": "StepLR",
        "rho": 1.3,
        "lam": 0.15,
        "warmup_epochs": None,
        "epochs": 30,
    },
    "brats": {
        "batch_size": 64,
        "optimizer": "SGD",
        "lr": 1e-2,
        "classifier_lr": 6e-3,
        "weight_decay": 3e-4,
        "max_norm": None,
        "scheduler": "CosineLR",
        "rho": 1.2,
        "lam": 0.10,
        "warmup_epochs": 10,
        "epochs": 150,
    },
}
