"""The generated files of the bundles: three bundles from one template, two lists in all four.

Run it after a change of `features.template.json`, `features.table.json`, `brats/train.json` or the
catalogue of methods: `python -m cggm.bundles.generate`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..pipelines.methods import CATALOGUE

FOLDER = Path(__file__).parent
# Top-level entries that a resumed training may change, or that others already compare: where the
# data are and how they are divided (their digests are tracked), for how long and on what it runs.
UNTRACKED = {
    *("dataset_dir", "cache_dir", "output_dir", "split_file", "layout", "label_convention"),
    *("val_fraction", "test_fraction", "split_seed", "fold", "test_fold"),
    *("epochs", "resume", "num_workers", "amp", "device", "is_main", "record_gradients"),
    *("tracking_uri", "experiment_name", "run_name", "save_execute_config"),
    *("weights", "network", "judged", "initialize", "run"),
}
_WIDTH = 100  # of a line


def generated() -> dict[str, str]:
    """Text of every generated file, by its path below `bundles/`."""
    table, files = _read("features.table.json"), _read("features.template.json")
    one_input = files.pop("input")
    logging = (FOLDER / "brats" / "logging.conf").read_text(encoding="utf-8")
    texts = {"brats/train.json": _text(completed(_read("brats/train.json")))}
    for name, row in table["bundles"].items():
        inputs = {modality: filled(one_input, words) for modality, words in row["inputs"].items()}
        values = {"name": name, **table["tasks"][row["task"]], **row, "inputs": inputs}
        for file, template in files.items():
            content = filled(template, values)
            content = completed(content) if file == "train.json" else content
            texts[f"{name}/{file}"] = _text(content)
        texts[f"{name}/logging.conf"] = logging
    return texts


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """A template with `{{name}}` replaced by the value of that name.

    An entry of a dictionary whose value would be a name that is not in `values` is left out.

    >>> filled({"batch_size": "{{size}}", "folder": "output/{{name}}", "limits": "{{limits}}"},
    ...        {"size": 64, "name": "mosi"})
    {'batch_size': 64, 'folder': 'output/mosi'}
    """
    if isinstance(template, dict):
        pairs = {key: filled(value, values) for key, value in template.items()}
        return {
            key: value
            for key, value in pairs.items()
            if value is not None or not _is_slot(template[key])
        }
    if isinstance(template, list):
        return [filled(item, values) for item in template]
    if not isinstance(template, str):
        return template
    if _is_slot(template):
        return values.get(template[2:-2])
    return re.sub(r"{{(\w+)}}", lambda match: str(values[match[1]]), template)


def completed(config: dict[str, Any]) -> dict[str, Any]:
    """A `train.json` with every method of the catalogue, and every setting to track.

    MONAI sets `--methods#agm#alpha` only where `methods` has an entry `agm`. What `tracked` holds
    is compared when a training is resumed, so that no setting may be forgotten in it.
    """
    methods = {name: config["methods"].get(name, {}) for name in sorted(CATALOGUE)}
    # What only a method reads is tracked among that method's own settings.
    others = json.dumps({k: v for k, v in config.items() if k not in ("methods", "tracked")})
    settings = [
        name
        for name, value in config.items()
        if not isinstance(value, dict)
        and name not in UNTRACKED
        and re.search(rf"@{name}\b", others)
    ]
    tracked = {name: f"@{name}" for name in settings}
    tracked |= {name: v for name, v in config["tracked"].items() if name not in tracked}
    return config | {"methods": methods, "tracked": tracked}


def _is_slot(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"{{\w+}}", value) is not None


def _read(file: str) -> dict[str, Any]:
    return json.loads((FOLDER / file).read_text(encoding="utf-8"))


def _text(content: dict[str, Any]) -> str:
    return _lines(content, 0, 0) + "\n"


def _lines(value: Any, depth: int, before: int) -> str:
    """JSON with what fits on one line on one line.

    Args:
        value: what to write.
        depth: of its indentation.
        before: characters of its line that precede it.
    """
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value:
        return line
    if depth and before + len(line) < _WIDTH:
        return line
    inner, outer = "    " * (depth + 1), "    " * depth
    if isinstance(value, list):
        rows = [inner + _lines(item, depth + 1, len(inner)) for item in value]
        return "[\n" + ",\n".join(rows) + f"\n{outer}]"
    keys = {key: f"{inner}{json.dumps(key)}: " for key in value}
    rows = [keys[key] + _lines(item, depth + 1, len(keys[key])) for key, item in value.items()]
    return "{\n" + ",\n".join(rows) + f"\n{outer}}}"


def main() -> None:
    """Write the files that differ from what is generated."""
    for file, text in generated().items():
        path = FOLDER / file
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {file}")


if __name__ == "__main__":
    main()
