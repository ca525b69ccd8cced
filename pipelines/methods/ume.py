"""UME: an ensemble of networks of single modalities (Du et al., ICML 2023)."""

from .unimodal import Unimodal


class UME(Unimodal):
    """Average the predictions of networks that were trained on one modality each."""

    paper = "Du et al.: On Uni-Modal Feature Learning in Supervised Multi-Modal Learning. ICML 2023"
    changes = "no joint training"
    published = frozenset({"classification"})
    extended = frozenset({"regression", "segmentation"})
    published_modalities = 2
