"""Data by path: pictures, MNIST and CIFAR files, and texts are read as they are, and every mistake is one sentence."""

import gzip
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from thinnet.models.edit.rates import owners
from thinnet.study.data.reading import open_problem
from thinnet.study.data.sources import cifar, idx, pictures, text, texts
from thinnet.study.data.sources.recognise import CIFAR, IDX, PICTURES, TEXT, TEXTS, recognise
from thinnet.study.design.configuration import Configuration
from thinnet.study.design.plan import Plan, StudyError
from thinnet.study.training.network import seeded_network

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 6, 8), dtype=np.uint8)


def picture(path: Path, pixels: np.ndarray, **how: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)
    return path


def by_class(folder: Path, count: int = 10, names: tuple[str, ...] = ("cat", "dog")) -> Path:
    for index in range(count * len(names)):
        picture(folder / names[index % len(names)] / f"{index:03}.png", PIXELS[index])
    return folder


def mnist(folder: Path, prefix: str = "train", count: int = 40, packed: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    contents = {
        f"{prefix}-images-idx3-ubyte": struct.pack(">4B3I", 0, 0, 8, 3, count, 6, 8) + PIXELS[:count].tobytes(),
        f"{prefix}-labels-idx1-ubyte": struct.pack(">4BI", 0, 0, 8, 1, count) + bytes(index % 3 for index in range(count)),
    }
    for name, raw in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(raw)) if packed else (folder / name).write_bytes(raw)
    return folder


def batches(folder: Path, binary: bool, hundred: bool = False) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    classes = 100 if hundred else 10
    for name in ("train", "test") if hundred else ("data_batch_1", "data_batch_2", "test_batch"):
        x = rng.integers(0, 256, (5 * classes, 3072), dtype=np.uint8)
        y = np.arange(len(x)) % classes
        if binary:
            labels = np.stack([y // 5, y], 1) if hundred else y[:, None]
            (folder / f"{name}.bin").write_bytes(np.concatenate([labels.astype(np.uint8), x], 1).tobytes())
        else:
            content = {b"data": x, (b"fine_labels" if hundred else b"labels"): y.tolist()}
            (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    return folder


def words(folder: Path, count: int = 10) -> Path:
    for name, word in (("good", "fine"), ("bad", "poor")):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            (folder / name / f"{index}.txt").write_text(f"A {word} film, number {index}.")
    return folder


def test_pictures_of_one_small_size_are_kept(tmp_path: Path):
    found = pictures.read(by_class(tmp_path))
    x, y = found.development
    assert x.shape == (20, 1, 6, 8)
    assert (x[0, 0] == PIXELS[0]).all()
    assert y.tolist() == [0] * 10 + [1] * 10
    assert (found.classes, found.arguments, found.test) == (("cat", "dog"), (1, 6, 8, 2), None)
    assert found.notes == ("20 pictures of 8 x 6 pixels, in grey; pixels are in [0, 1].",)


def test_pictures_of_many_sizes_share_one_and_their_colour(tmp_path: Path):
    by_class(tmp_path)
    picture(tmp_path / "cat" / "large.jpg", np.full((90, 120, 3), (200, 30, 30), np.uint8))
    found = pictures.read(tmp_path)
    assert found.development[0].shape == (21, 3, 32, 32)
    assert "8 to 120 pixels wide, cut to a centred square and resized to 32 x 32, in colour" in found.notes[0]


def test_every_mode_of_a_picture_has_its_brightness(tmp_path: Path):
    by_class(tmp_path)
    flat = {
        "grey.png": np.full((6, 8), 200, np.uint8),
        "deep.png": np.full((6, 8), 200 * 257, np.uint16),
        "clear.png": np.full((6, 8, 4), (200, 200, 200, 255), np.uint8),
        "empty.png": np.full((6, 8, 4), (7, 7, 7, 0), np.uint8),
    }
    for name, pixels in flat.items():
        picture(tmp_path / "cat" / name, pixels)
    Image.fromarray(flat["grey.png"]).convert("P").save(tmp_path / "cat" / "palette.gif")
    x, y = pictures.read(tmp_path).development
    assert [picture.mean() for picture in x[y == 0][10:]] == [200, 200, 255, 200, 200]  # clear, deep, empty, grey, palette


def test_unreadable_pictures_are_named_and_left_out(tmp_path: Path):
    by_class(tmp_path)
    (tmp_path / "dog" / "note.png").write_text("no picture")
    whole = picture(tmp_path / "dog" / "cut.png", PIXELS[0]).read_bytes()
    (tmp_path / "dog" / "cut.png").write_bytes(whole[:60])
    (tmp_path / "dog" / "Thumbs.db").write_text("")
    found = pictures.read(tmp_path)
    assert len(found.development[0]) == 20
    assert found.warnings[0].startswith("2 of 22 pictures could not be read and were left out: dog/")
    assert "dog/note.png (no picture)" in found.warnings[0]


def test_given_test_pictures_are_the_test_set(tmp_path: Path):
    by_class(tmp_path / "train")
    by_class(tmp_path / "test", 3)
    found = pictures.read(tmp_path)
    assert found.classes == ("cat", "dog")
    assert found.test is not None
    assert (len(found.development[1]), len(found.test[1])) == (20, 6)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_mnist(tmp_path: Path, packed: bool):
    mnist(tmp_path / "raw", packed=packed)
    mnist(tmp_path / "raw", "t10k", 12, packed)
    found = idx.read(tmp_path)
    assert (found.development[0][:, 0] == PIXELS[:40]).all()
    assert found.development[1].tolist() == [index % 3 for index in range(40)]
    assert found.test is not None
    assert len(found.test[0]) == 12
    assert found.arguments == (1, 6, 8, 3)
    one = idx.read(next((tmp_path / "raw").glob("train-images*")))
    assert one.test is None
    assert (one.development[0] == found.development[0]).all()


@pytest.mark.parametrize("hundred", [False, True], ids=["10", "100"])
def test_cifar_forms_agree(tmp_path: Path, hundred: bool):
    ours = batches(tmp_path / "py", binary=False, hundred=hundred)
    binary = batches(tmp_path / "bin", binary=True, hundred=hundred)
    (binary / ("fine_label_names.txt" if hundred else "batches.meta.txt")).write_text(
        "\n".join(f"kind{index}" for index in range(100 if hundred else 10))
    )
    one, other = cifar.read(ours), cifar.read(binary)
    assert (one.development[0] == other.development[0]).all()
    assert (one.development[1] == other.development[1]).all()
    assert one.development[0].shape == (500 if hundred else 100, 3, 32, 32)
    assert one.test is not None
    assert other.classes[7] == "kind7"


def test_a_batch_never_runs_code(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(StudyError, match="it would run"):
        cifar.read(path)
    assert not (tmp_path / "ran").exists()


def test_text_is_bytes_and_the_bytes_that_follow(tmp_path: Path):
    path = tmp_path / "book.txt"
    path.write_text("Äpfel und Birnen. " * 400)
    found = text.read(path)
    assert found.test is not None
    x, y = (np.concatenate([a, b]) for a, b in zip(found.development, found.test, strict=True))
    raw = path.read_bytes()[: x.size + 1]
    assert bytes(x.ravel().astype(np.uint8)) == raw[:-1]
    assert bytes(y.ravel().astype(np.uint8)) == raw[1:]
    assert len(found.test[0]) == len(x) - int(0.8 * len(x))


def test_texts_in_folders_and_in_lines_are_the_same(tmp_path: Path):
    one = texts.read(words(tmp_path / "files"))
    (tmp_path / "lines").mkdir()
    for name in ("good", "bad"):
        found = sorted((tmp_path / "files" / name).iterdir())
        (tmp_path / "lines" / f"{name}.txt").write_text("\n".join(path.read_text() for path in found))
    other = texts.read(tmp_path / "lines")
    assert (one.development[0] == other.development[0]).all()
    assert one.classes == other.classes == ("bad", "good")
    assert (one.development[0][0] > 0).sum() == 7  # a word is a number, and so is a sign


def test_paths_are_recognised_by_their_names(tmp_path: Path):
    (tmp_path / "t.txt").write_text("x")
    assert recognise(by_class(tmp_path / "a"), None) is PICTURES
    assert recognise(mnist(tmp_path / "b"), None) is IDX
    assert recognise(tmp_path / "b" / "train-images-idx3-ubyte", None) is IDX
    assert recognise(batches(tmp_path / "c", binary=True), None) is CIFAR
    assert recognise(tmp_path / "c" / "test_batch.bin", None) is CIFAR
    assert recognise(words(tmp_path / "d"), None) is TEXTS
    assert recognise(tmp_path / "t.txt", None) is TEXT
    assert recognise(tmp_path / "t.txt", "y") is None
    assert recognise(Path("digits"), None) is None


def broken(folder: Path, change: Callable[[bytes], bytes]) -> Path:
    path = mnist(folder) / "train-images-idx3-ubyte"
    path.write_bytes(change(path.read_bytes()))
    return folder


def emptied(folder: Path) -> Path:
    for path in by_class(folder).rglob("*.png"):
        path.write_text("x")
    return folder


def alone(folder: Path) -> Path:
    mnist(folder)
    (folder / "train-labels-idx1-ubyte").unlink()
    return folder


def without_class(folder: Path) -> Path:
    picture(folder / "a.png", PIXELS[0])
    return folder


MISTAKES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty folder": (lambda p: p.mkdir() or p, "a folder must hold one folder of pictures"),
    "loose pictures": (without_class, "Put the files into a folder for each class."),
    "one class": (lambda p: by_class(p, names=("cat",)), "must hold at least two classes; got only cat"),
    "rare class": (lambda p: by_class(p, 2), "must have at least 5 samples; got 2 of 'cat'"),
    "no readable picture": (emptied, "must hold readable pictures; got 20 files"),
    "images without labels": (alone, "one file of images and one of labels for each set"),
    "cut idx": (lambda p: broken(p, lambda raw: raw[:-9]), "must be a whole idx file; got"),
    "other idx": (lambda p: broken(p, lambda raw: b"\0\0\x0d\x03" + raw[4:]), "it starts with 00000d03"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_sentence(case: str, tmp_path: Path):
    make, words = MISTAKES[case]
    path = make(tmp_path / "data")
    with pytest.raises(StudyError) as caught:
        source = recognise(path, None)
        assert source is not None
        source.read(path)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


FOLDERS = {"pictures": lambda path: by_class(path, 20, ("a", "b", "c")), "texts": lambda path: words(path, 30)}


@pytest.mark.parametrize("make", FOLDERS.values(), ids=FOLDERS)
def test_a_folder_is_studied(make: Callable[[Path], Path], tmp_path: Path, study: Callable):
    path = make(tmp_path / "data")
    outcome = study(path, "--rates", "0.3", "--epochs", "2", "--seeds", "1", "--json", "--out", tmp_path / "out")
    found = json.loads(outcome.out)
    assert outcome.code == 0
    assert (found["data"]["name"], found["data"]["target"]) == ("data", "class")
    assert found["data"]["notes"][0] in outcome.err  # nobody should have to open the report to see how the files were read
    assert "pictures of 8 x 6 pixels" in found["data"]["notes"][0] or "texts, as words" in found["data"]["notes"][0]
    assert found["configurations"][1]["best"]["validation_loss"] < 2
    code = found["recommended"]["code"]
    assert ("thinnet.study.networks.cnn import" in code) or ("thinnet.study.networks.encoder import" in code)
    scope: dict = {}
    exec(code, scope)
    assert isinstance(scope["model"](), torch.nn.Module)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A transformer with its tokenizer, as `save_pretrained` writes them."""
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", "a", "fine", "poor", "film", "number"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=len(vocabulary), **sizes))
    fast.save_pretrained(tmp_path / "weights")
    model.save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


def test_fine_tuning_starts_from_the_weights_of_the_folder(trained: Path, tmp_path: Path):
    import transformers

    problem = open_problem(words(tmp_path / "texts"), weights=trained)
    assert problem.settings()["learning_rate"] < 1e-4
    with pytest.raises(StudyError, match="samples must be at least 50; got 20"):
        problem.dataset(0)
    data = open_problem(Path("finetune"), weights=trained).dataset(0)
    network = seeded_network(data, Plan(), Configuration("dropout", 0.3), seed=0)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(trained).bert.state_dict()
    ours = network.transformer.bert.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert {owner.p for owner in owners(network) if not owner.idle} == {0.3}


def test_other_weights_are_another_study(trained: Path):
    one = open_problem(Path("finetune"), weights=trained).dataset(0).fingerprint()
    config = trained / "config.json"
    config.write_text(config.read_text().replace('"hidden_dropout_prob": 0.1', '"hidden_dropout_prob": 0.2'))
    assert open_problem(Path("finetune"), weights=trained).dataset(0).fingerprint() != one
