"""A toxic classifier trained by the pipeline, beside a word list: AUC on held-out text.

python -m benchmarks.corpus.toxic

English: tweets that people called hateful or offensive against the others (Davidson et al. 2017),
every fifth held out. Chinese: COLDataset's own train and test files (Deng et al. 2022). The peer is
the share of words found in the LDNOOBW list of the language, as ``safety.words`` measures it. One
classifier is trained on both languages together, as a corpus of both would have it.
"""

import csv
import io
import os
import tarfile
import tempfile
from pathlib import Path

from benchmarks.corpus.classifiers import measure
from benchmarks.report import keep
from corpus.safety.config import SafetyConfig, WordListConfig
from corpus.safety.safety import Safety
from corpus.value.metrics import auc

ARCHIVE = "lowquality/sms_davidson_cold_badwords.tar.gz"
Side = tuple[list[str], list[str]]
"""(toxic, other) texts."""


def _rows(archive: tarfile.TarFile, name: str) -> list[dict[str, str]]:
    member = archive.extractfile(name)
    assert member is not None
    return list(csv.DictReader(io.StringIO(member.read().decode("utf-8-sig"))))


def english(archive: tarfile.TarFile) -> tuple[Side, Side]:
    """(train, test) of the tweets."""
    sides: list[Side] = [([], []), ([], [])]
    for place, row in enumerate(_rows(archive, "davidson_hate_speech/data/labeled_data.csv")):
        sides[place % 5 == 0][row["class"] == "2"].append(row["tweet"])
    return sides[0], sides[1]


def chinese(archive: tarfile.TarFile) -> tuple[Side, Side]:
    """(train, test) of COLDataset."""
    sides: list[Side] = []
    for split in ("train", "test"):
        side: Side = ([], [])
        for row in _rows(archive, f"cold_zh/COLDataset/{split}.csv"):
            side[row["label"] == "0"].append(row["TEXT"])
        sides.append(side)
    return sides[0], sides[1]


def word_list_auc(words: bytes, language: str, test: Side) -> float:
    """AUC of the share of words that stand in a list."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "words.txt"
        path.write_bytes(words)
        entry = WordListConfig(name="bad", path=str(path), languages=(language,))
        safety = Safety(SafetyConfig(words=(entry,)))
        good, bad = (
            [safety.columns(text, language)["bad_words"] for text in texts] for texts in test
        )
    return auc(good, bad)


def main() -> None:
    """Train once, measure both languages."""
    with tarfile.open(Path(os.environ.get("INKSTONE_DATA", "data")) / ARCHIVE) as archive:
        parts = {"en": english(archive), "zh": chinese(archive)}
        lists = {}
        for language in parts:
            member = archive.extractfile(f"ldnoobw_badwords/{language}")
            assert member is not None
            lists[language] = member.read()
    train = tuple([t for one, _ in parts.values() for t in one[side]] for side in (0, 1))
    for language, (_, test) in parts.items():
        found = measure("toxic", train, test)  # type: ignore[arg-type]
        theirs = word_list_auc(lists[language], language, test)
        keep(
            f"corpus-classifier-toxic-{language}",
            what=f"toxic classifier trained on en and zh together, held-out {language}",
            ours=found["auc"],
            unit="AUC",
            peer="share of words in the LDNOOBW list",
            theirs=round(theirs, 5),
            ratio=round(found["auc"] / theirs, 3),
            goal="> 1",
            met=found["auc"] > theirs,
            measured=found,
        )


if __name__ == "__main__":
    main()
