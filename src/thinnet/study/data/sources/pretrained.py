"""Texts for a trained transformer in a folder of the user: its tokens, and the digest of its weights."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thinnet.report.extras import need
from thinnet.study.data.sources.arrays import Arrays
from thinnet.study.data.sources.texts import LENGTH, Texts, encoded, texts_of
from thinnet.study.design.plan import StudyError

OPTION, CONFIG = "--weights", "config.json"
WEIGHTS = (".safetensors", ".bin")
CHUNK = 1 << 20


@dataclass(frozen=True)
class Tokens:
    """What texts become for a trained transformer: tokens of the tokenizer in its folder, (N, T)."""

    folder: str
    kind: str = "tokens"

    @classmethod
    def of(cls, found: dict[str, Any]) -> "Tokens":
        """Returns those of a JSON document."""
        return cls(**found)

    def encode(self, texts: Texts) -> np.ndarray:
        """Returns the tokens of texts, or of files that are given as `pathlib.Path`."""
        return Pretrained(Path(self.folder)).encode(texts_of(texts))[0]


class Pretrained:
    """A folder that `save_pretrained` of a model and of its tokenizer wrote. Nothing is downloaded.

    Args:
        folder: its path.

    Raises:
        StudyError: the folder holds something else.
        MissingLibrary: transformers is not installed.
    """

    def __init__(self, folder: Path) -> None:
        check_weights(folder)
        transformers = need("transformers", "thinnet study --weights")
        transformers.logging.set_verbosity_error()
        try:
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # transformers raises errors of many classes
            got = f"{str(folder)!r} ({str(error).splitlines()[0].rstrip('.')})"
            advice = "Save the tokenizer there: tokenizer.save_pretrained(FOLDER)."
            raise StudyError(OPTION, "the folder must hold a tokenizer", got, advice) from None
        self.folder = folder.resolve()  # the pasted code runs in another folder
        self.tokenizer.pad_token = self.tokenizer.pad_token or self.tokenizer.eos_token
        self.padding = int(self.tokenizer.pad_token_id or 0)

    def encode(self, texts: list[str]) -> tuple[np.ndarray, str]:
        """Returns tokens (N, T), at most 128, and a sentence on them."""
        tokens = self.tokenizer(texts, truncation=True, max_length=LENGTH, padding="longest")["input_ids"]
        return np.array(tokens, dtype=np.int64), f"as tokens of {self.folder.name}, at most {LENGTH} each"

    def read(self, texts: Path | None) -> Arrays:
        """Reads a folder of texts by class, or without one the texts of finetune."""
        arguments, samples = (str(self.folder), self.padding), Tokens(str(self.folder))
        if texts is not None:
            return encoded(texts, self.encode, arguments, samples)
        from thinnet.study.networks.text import documents

        found, pages, classes = documents()
        x, how = self.encode(found)
        note = f"{len(x)} texts, {how}."
        return Arrays((x, np.array(pages)), None, classes, (*arguments, len(classes)), (note,), samples=samples)

    def digest(self) -> str:
        """Returns the SHA-256 of the config and the weights."""
        digest = hashlib.sha256()
        for path in sorted(each for each in self.folder.iterdir() if each.name == CONFIG or each.suffix in WEIGHTS):
            with path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
        return digest.hexdigest()


def check_weights(folder: Path) -> None:
    """Refuses a folder that does not have a transformer.

    Raises:
        StudyError: with what is missing.
    """
    advice = "Save a model there: model.save_pretrained(FOLDER)."
    if not folder.is_dir():
        raise StudyError(OPTION, "the value must be a folder on this machine", repr(str(folder)), "Download the model first.")
    names = [each.name for each in folder.iterdir()]
    if CONFIG not in names or not any(name.endswith(WEIGHTS) for name in names):
        got = f"{str(folder)!r}, which holds {', '.join(map(repr, sorted(names)[:4])) or 'nothing'}"
        raise StudyError(OPTION, f"the folder must hold {CONFIG} and weights of a transformer", got, advice)
