"""The brightness of tissues in FLAIR, T1, T1ce and T2.

Sources of the numbers ("chosen" means set here so that the contrasts look right at 3 T):

* WM, GM relaxation: Wansapura et al. 1999, JMRI 9:531.
* CSF: T1 and T2 of subarachnoid CSF and frontal horns as measured at 3 T (MRM 2023), rounded.
* Edema T1: MR fingerprinting of peritumoral white matter, Badve et al. 2017, AJNR 38:492
  (1578 +- 331 ms glioblastoma, 1066 +- 218 ms low grade); its T2 is chosen.
* Enhancing tumor, non-enhancing tumor, necrosis, blood products, vessels: chosen.
* r1 of gadobutrol in plasma at 3 T: Szomolanyi et al. 2019, Invest Radiol 54:559; r2 chosen.
* Concentration of the agent: from the drop of T1 in glioblastoma, Noeth et al. 2020, NMR Biomed
  (838 +- 210 ms in the rim, 123 ms in edema, 32 ms in normal tissue), then lowered and made patchy.
* Sequence timings: chosen, typical of clinical 3 T protocols.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

GADOLINIUM_R1, GADOLINIUM_R2 = 4.97, 7.1  # per mM and second


@dataclass(frozen=True)
class Tissue:
    """Relative proton density and relaxation times in ms, without contrast agent."""

    pd: float
    t1: float
    t2: float

    def with_agent(self, millimolar: float) -> Tissue:
        """The tissue at a concentration of contrast agent: 1/T' = 1/T + r C."""
        r1, r2 = GADOLINIUM_R1 * millimolar / 1000, GADOLINIUM_R2 * millimolar / 1000  # per ms
        return Tissue(self.pd, 1 / (1 / self.t1 + r1), 1 / (1 / self.t2 + r2))


TISSUES = {
    "wm": Tissue(0.69, 832, 79),
    "gm": Tissue(0.81, 1331, 110),
    "csf": Tissue(1.0, 4350, 2000),
    "edema": Tissue(0.81, 1578, 210),
    "enhancing": Tissue(0.82, 1400, 135),
    "infiltrated": Tissue(0.83, 1650, 165),  # tumor that does not enhance
    "necrosis": Tissue(0.93, 2300, 350),
    "blood": Tissue(0.80, 480, 55),  # subacute bleeding: short T1
    "vessel": Tissue(1.0, 1600, 60),  # dark on FLAIR and T2, bright with agent
}
HEALTHY = ("wm", "gm", "csf")

# Contrast agent in mM. Healthy brain takes up almost none behind the blood-brain barrier.
AGENT = {"wm": 0.008, "gm": 0.010, "csf": 0.0, "edema": 0.012, "infiltrated": 0.015}
AGENT |= {"necrosis": 0.012, "blood": 0.012, "vessel": 0.7}
AGENT_RIM = (0.08, 0.20)  # mM, range over cases; within a rim it varies further


@dataclass(frozen=True)
class SpinEcho:
    """S = PD (1 - exp(-TR / T1)) exp(-TE / T2); times in ms."""

    tr: float
    te: float

    def signal(self, tissue: Tissue) -> float:
        """Signal relative to full magnetization of water."""
        return tissue.pd * (1 - np.exp(-self.tr / tissue.t1)) * np.exp(-self.te / tissue.t2)


@dataclass(frozen=True)
class InversionRecovery:
    """S = PD (1 - 2 exp(-TI / T1) + exp(-TR / T1)) exp(-TE / T2); times in ms.

    The sign is kept: compartments of one voxel add before the magnitude is taken.
    """

    tr: float
    ti: float
    te: float

    def signal(self, tissue: Tissue) -> float:
        """Signed signal relative to full magnetization of water."""
        recovered = 1 - 2 * np.exp(-self.ti / tissue.t1) + np.exp(-self.tr / tissue.t1)
        return tissue.pd * recovered * np.exp(-self.te / tissue.t2)


Sequence = SpinEcho | InversionRecovery
PROTOCOL: dict[str, Sequence] = {
    "flair": InversionRecovery(tr=9000, ti=2450, te=110),
    "t1": SpinEcho(tr=450, te=9),
    "t1ce": SpinEcho(tr=450, te=9),
    "t2": SpinEcho(tr=5000, te=100),
}


def vary_tissues(rng: np.random.Generator) -> dict[str, Tissue]:
    """The tissues of one subject: 4 % (healthy) or 10 % (diseased) off in each number."""
    varied = {}
    for name, tissue in TISSUES.items():
        spread = 0.04 if name in HEALTHY else 0.10
        pd, t1, t2 = np.exp(spread * np.clip(rng.standard_normal(3), -2, 2) * (0.4, 1, 1))
        varied[name] = Tissue(tissue.pd * pd, tissue.t1 * t1, tissue.t2 * t2)
    varied["csf"] = TISSUES["csf"]  # free water does not vary: FLAIR must null it
    return varied


OTHER_PROTOCOL: dict[str, Sequence] = {  # of another hospital: chosen, within clinical ranges
    "flair": InversionRecovery(tr=8000, ti=2250, te=85),
    "t1": SpinEcho(tr=700, te=14),
    "t1ce": SpinEcho(tr=700, te=14),
    "t2": SpinEcho(tr=3500, te=75),
}


def vary_protocol(
    rng: np.random.Generator, usual: Mapping[str, Sequence] = PROTOCOL
) -> dict[str, Sequence]:
    """The timings of one scan: T1 and T1ce share theirs, as in one session."""
    t1, t2, flair = np.exp(rng.uniform(-0.12, 0.12, 3))
    spin = replace(usual["t1"], tr=usual["t1"].tr * t1)
    return {
        "flair": replace(usual["flair"], te=usual["flair"].te * flair),
        "t1": spin,
        "t1ce": spin,
        "t2": replace(usual["t2"], te=usual["t2"].te * t2),
    }
