"""Features of encoders: those of the model, whatever else is in the batch."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from cggm.data.errors import InputError
from cggm.pipelines.extraction import Encoder, Options, load_encoder
from cggm.pipelines.extraction.media import Unusable

from .conftest import WORDS, picture, sentences, tone
from .test_media import clip


def assert_alike(encoder: Encoder, inputs: list) -> list[np.ndarray]:
    """A batch gives the same as one by one, in the same order."""
    together = encoder.encode(inputs)
    for value, features in zip(inputs, together, strict=True):
        (alone,) = encoder.encode([value])
        assert features.dtype == np.float32
        assert features.shape == alone.shape and features.shape[1] == encoder.width
        np.testing.assert_allclose(features, alone, atol=2e-5)
    return together


@pytest.mark.parametrize("pooling", ["tokens", "mean", "cls"])
def test_texts(bert: Path, pooling: str) -> None:
    encoder = load_encoder("text", str(bert), Options(pooling=pooling, device="cpu"))
    texts = [*sentences(12), "frog"]
    features = assert_alike(encoder, texts)
    lengths = [1] * 13 if pooling != "tokens" else [min(len(t.split()) + 2, 64) for t in texts]
    assert [len(f) for f in features] == lengths
    with pytest.raises(Unusable, match="empty"):
        encoder.read(" \n\t")

    model = transformers.BertModel.from_pretrained(bert).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    with torch.no_grad():
        states = model(**tokenizer(texts[0], return_tensors="pt")).last_hidden_state[0].numpy()
    expected = {"tokens": states, "mean": states.mean(0, keepdims=True), "cls": states[:1]}
    np.testing.assert_allclose(features[0], expected[pooling], atol=1e-5)


def test_long_texts_are_cut(bert: Path) -> None:
    encoder = load_encoder("text", str(bert), Options(max_length=8))
    assert len(encoder.encode(["a frog " * 30])[0]) == 8
    with pytest.raises(InputError, match="max_length is 500, but tiny-bert takes at most 80"):
        load_encoder("text", str(bert), Options(max_length=500))


def test_gpt_has_no_token_for_padding_and_none_for_the_whole_text(tmp_path: Path) -> None:
    """Texts of a batch give what they give alone; its first token sees nothing behind it."""
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(["<end>", *WORDS])}, "<end>"))
    tokenizer.pre_tokenizer = Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", unk_token="<end>"
    ).save_pretrained(tmp_path)
    config = transformers.GPT2Config(
        vocab_size=40,
        n_positions=80,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    transformers.GPT2Model(config).save_pretrained(tmp_path)
    encoder = load_encoder("text", str(tmp_path), Options(pooling="mean", device="cpu"))
    assert_alike(encoder, [*sentences(6), WORDS[0]])
    with pytest.raises(InputError, match="sees nothing of the text behind it.*--pooling mean"):
        load_encoder("text", str(tmp_path), Options(pooling="cls", device="cpu"))


def test_roberta_takes_two_tokens_less_than_it_has_places(tmp_path: Path) -> None:
    """Two places stand before those of tokens; no tokenizer of the hub has to say so."""
    words = ["<s>", "<pad>", "</s>", "<unk>", "a", "great", "sad", "movie"]
    vocabulary = {word: place for place, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    marks = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks).save_pretrained(
        tmp_path
    )
    places = {"vocab_size": len(words), "max_position_embeddings": 22, "pad_token_id": 1}
    config = transformers.RobertaConfig(
        **places, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    transformers.RobertaForMaskedLM(config).save_pretrained(tmp_path)  # no pooler, as on the hub
    encoder = load_encoder("text", str(tmp_path), Options(max_length=20))
    (features,) = encoder.encode(["great movie " * 40])
    assert features.shape == (20, 16)
    with pytest.raises(InputError, match="max_length is 21, but .* takes at most 20 tokens"):
        load_encoder("text", str(tmp_path), Options(max_length=21))


def test_images(vit: Path, tmp_path: Path) -> None:
    inputs = {}
    for pooling, steps in (("tokens", 16), ("mean", 1), ("cls", 1)):
        encoder = load_encoder("image", str(vit), Options(pooling=pooling, batch_size=2))
        images = [encoder.read(picture(tmp_path / f"{i}.png", i)) for i in range(5)]
        inputs[pooling] = assert_alike(encoder, images)
        assert {len(f) for f in inputs[pooling]} == {steps}
    np.testing.assert_allclose(
        inputs["tokens"][3].mean(0), inputs["mean"][3][0], atol=1e-5, rtol=1e-4
    )

    model = transformers.ViTModel.from_pretrained(vit).eval()
    processor = transformers.ViTImageProcessor.from_pretrained(vit)
    pixels = processor(images=Image.open(tmp_path / "3.png"), return_tensors="pt")
    with torch.no_grad():
        states = model(**pixels).last_hidden_state[0].numpy()
    np.testing.assert_allclose(inputs["cls"][3], states[:1], atol=1e-5)
    np.testing.assert_allclose(inputs["tokens"][3], states[1:], atol=1e-5)


def test_a_folder_without_image_processor(vit: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(vit, tmp_path / "bare"))
    (bare / "preprocessor_config.json").unlink()
    with pytest.warns(UserWarning, match="bare has no preprocessor_config.json: .* 32 x 32.* 0.5"):
        found = load_encoder("image", str(bare))
    path = picture(tmp_path / "one.png")
    whole = load_encoder("image", str(vit))
    np.testing.assert_allclose(
        found.encode([found.read(path)])[0], whole.encode([whole.read(path)])[0], atol=1e-5
    )
    other = load_encoder("image", str(vit), Options(mean=(0.0,), std=(1.0,)))
    assert float(other.read(path).min()) >= 0 and float(other.read(path).max()) <= 1


def test_a_convolutional_model_of_transformers(tmp_path: Path) -> None:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
    )
    transformers.ResNetModel(config).save_pretrained(tmp_path / "net")
    transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(
        tmp_path / "net"
    )
    encoder = load_encoder("image", str(tmp_path / "net"), Options(pooling="tokens"))
    (features,) = encoder.encode([encoder.read(picture(tmp_path / "a.png"))])
    assert features.shape == (64, 16)
    with pytest.raises(InputError, match="net has no class token; use --pooling mean"):
        load_encoder("image", str(tmp_path / "net"), Options(pooling="cls"))


@pytest.mark.parametrize(("name", "tokens"), [("test_vit", 100), ("test_efficientnet", 25)])
def test_timm(name: str, tokens: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = timm.create_model(name).eval()
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    options = Options(pooling="tokens", weights=str(tmp_path / "net.safetensors"))
    encoder = load_encoder("image", f"timm:{name}", options)
    images = [encoder.read(picture(tmp_path / f"{i}.png", i)) for i in range(3)]
    features = assert_alike(encoder, images)
    with torch.no_grad():
        states = net.forward_features(torch.stack(images))
    states = states.flatten(2).transpose(1, 2) if states.ndim == 4 else states[:, 1:]
    assert features[0].shape == (tokens, states.shape[2])
    np.testing.assert_allclose(features[1], states[1].numpy(), atol=1e-4)

    # As the packages that rename all tensors and keep their order.
    renamed = {f"x{i}": value for i, value in enumerate(net.state_dict().values())}
    torch.save(renamed, tmp_path / "net.pth")
    again = load_encoder(
        "image", f"timm:{name}", Options(pooling="tokens", weights=str(tmp_path / "net.pth"))
    )
    np.testing.assert_array_equal(again.encode(images)[1], features[1])


def recordings(folder: Path, encoder: Encoder, *seconds: float) -> list[np.ndarray]:
    paths = [folder / f"{length}.wav" for length in seconds]
    for path, length in zip(paths, seconds, strict=True):
        draw = np.random.default_rng(round(length * 100))
        soundfile.write(path, draw.normal(0, 0.1, round(length * 16_000)), 16_000)
    return [encoder.read(path) for path in paths]


def test_whisper_is_as_long_as_the_sound(whisper: Path, tmp_path: Path) -> None:
    encoder = load_encoder("audio", str(whisper))
    features = assert_alike(encoder, recordings(tmp_path, encoder, 0.4, 2.6, 1.0, 2.1))
    assert [len(f) for f in features] == [20, 130, 50, 105]


def test_whisper_of_30_seconds_is_that_of_transformers(whisper: Path, tmp_path: Path) -> None:
    encoder = load_encoder("audio", str(whisper))
    (sound,) = recordings(tmp_path, encoder, 30.0)
    model = transformers.WhisperModel.from_pretrained(whisper).eval()
    extractor = transformers.WhisperFeatureExtractor()
    mel = extractor(sound, sampling_rate=16_000, return_tensors="pt")["input_features"]
    with torch.no_grad():
        expected = model.encoder(mel).last_hidden_state[0].numpy()
    np.testing.assert_allclose(encoder.encode([sound])[0], expected, atol=1e-5)
    with pytest.raises(InputError, match="max_seconds is 31, but tiny-whisper takes at most 30"):
        load_encoder("audio", str(whisper), Options(max_seconds=31))


def test_whisper_with_its_whole_window(whisper: Path, tmp_path: Path) -> None:
    encoder = load_encoder("audio", str(whisper), Options(whole_window=True))
    (sound,) = recordings(tmp_path, encoder, 1.5)
    model = transformers.WhisperModel.from_pretrained(whisper).eval()
    mel = transformers.WhisperFeatureExtractor()(sound, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        expected = model.encoder(mel["input_features"]).last_hidden_state[0, :75].numpy()
    np.testing.assert_allclose(encoder.encode([sound])[0], expected, atol=1e-5)
    assert encoder.about["whole_window"] is True


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_wav2vec2(wav2vec2: Callable[[str], Path], norm: str, tmp_path: Path) -> None:
    encoder = load_encoder("audio", str(wav2vec2(norm)))
    features = assert_alike(encoder, recordings(tmp_path, encoder, 1.0, 0.6, 1.7, 0.61))
    assert len(features[2]) > len(features[0]) > len(features[1])


def test_frames_of_a_clip(vit: Path, tmp_path: Path) -> None:
    encoder = load_encoder("video", str(vit), Options(frames_per_second=2, batch_size=3))
    clips = [encoder.read(clip(tmp_path / f"{s}.mp4", s)) for s in (1.0, 3.0)]
    features = assert_alike(encoder, clips)
    assert [f.shape for f in features] == [(2, 32), (6, 32)]


def test_bfloat16_and_int8_are_close(bert: Path) -> None:
    texts = sentences(6)
    expected = np.concatenate(load_encoder("text", str(bert)).encode(texts))
    for precision in ("bfloat16", "int8"):
        encoder = load_encoder("text", str(bert), Options(precision=precision, device="cpu"))
        found = np.concatenate(encoder.encode(texts))
        norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        assert not np.array_equal(found, expected)
        assert ((found * expected).sum(1) / norms).min() > 0.99
        assert encoder.about["precision"] == precision


def test_the_encoder_of_a_model_with_decoder(bert: Path, tmp_path: Path) -> None:
    config = transformers.T5Config(
        vocab_size=40, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, n_positions=80
    )
    shutil.copytree(bert, tmp_path / "t5", ignore=shutil.ignore_patterns("model*", "config.json"))
    transformers.T5Model(config).save_pretrained(tmp_path / "t5")
    encoder = load_encoder("text", str(tmp_path / "t5"))
    assert_alike(encoder, sentences(4))
    assert encoder.width == 16


def test_opensmile_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(InputError, match="opensmile, which is not installed: .*non-comm"):
        load_encoder("audio", "opensmile:eGeMAPSv02")


def test_opensmile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("opensmile")
    soundfile.write(tmp_path / "a.wav", tone(1.0, 16_000), 16_000)
    steps = load_encoder("audio", "opensmile:eGeMAPSv02")
    assert "non-commercial" in capsys.readouterr().err
    assert 80 < len(steps.encode([steps.read(tmp_path / "a.wav")])[0]) < 110
    whole = load_encoder("audio", "opensmile:eGeMAPSv02", Options(pooling="mean"))
    assert whole.encode([whole.read(tmp_path / "a.wav")])[0].shape == (1, 88)
    with pytest.raises(InputError, match="no feature set 'GeMAPS9'"):
        load_encoder("audio", "opensmile:GeMAPS9")
