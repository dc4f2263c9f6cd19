import json
import random
from pathlib import Path

import pytest

from clusters.config import ConfigError
from contracts.ngrams import word_list
from corpus.decontaminate.config import BenchmarkConfig, DecontaminateConfig
from corpus.decontaminate.index import Index, build_index
from corpus.decontaminate.index_file import load_index, save_index
from corpus.decontaminate.items import external_inputs, read_items
from corpus.decontaminate.report import Contamination
from corpus.errors import CorpusError

WORDS = [f"w{i}" for i in range(300)]
HAN = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜"


def _config(folder: Path, items: list[str], **more: object) -> DecontaminateConfig:
    path = folder / "set.jsonl"
    path.write_text("".join(json.dumps({"question": item}) + "\n" for item in items))
    benchmark = BenchmarkConfig(name="set", path=str(path), fields=("question",))
    return DecontaminateConfig(benchmarks=(benchmark,), **more)  # type: ignore[arg-type]


def _sentence(rng: random.Random, length: int) -> str:
    return " ".join(rng.choices(WORDS, k=length))


def _slow_hits(items: list[str], text: str, n: int, least: int) -> set[int]:
    """Every n-gram of every item against every place of the text."""
    words = word_list(text)
    found = set()
    for number, item in enumerate(items):
        own = word_list(item)
        size = min(n, len(own))
        if size < least:
            continue
        grams = {tuple(own[i : i + size]) for i in range(len(own) - size + 1)}
        if any(tuple(words[i : i + size]) in grams for i in range(len(words) - size + 1)):
            found.add(number)
    return found


def test_hits_are_those_of_a_slow_search(tmp_path: Path) -> None:
    rng = random.Random()
    items = [_sentence(rng, rng.randint(5, 40)) for _ in range(60)]
    index = build_index(_config(tmp_path, items))
    for _ in range(60):
        pieces = [_sentence(rng, rng.randint(0, 30))]
        for item in rng.sample(items, 3):
            words = item.split()
            start = rng.randint(0, len(words) - 1)
            pieces += [", ".join(words[start : start + rng.randint(1, 20)]).upper(), "and"]
        text = " ".join(pieces)
        got = {int(hit.item.split(":")[1]) - 1 for hit in index.hits(text, "en")}
        assert got == _slow_hits(items, text, 13, 8), text


def test_chinese_is_matched_by_characters(tmp_path: Path) -> None:
    rng = random.Random()
    items = ["".join(rng.choices(HAN, k=30)) for _ in range(5)]
    index = build_index(_config(tmp_path, items))
    assert index.hits("前文。" + items[2][3:19] + "，后文", "zh")[0].item == "set.jsonl:3"
    assert index.hits("前文。" + items[2][3:18] + "，后文", "zh") == []


def test_short_items_are_matched_whole_or_counted(tmp_path: Path) -> None:
    items = ["one two three four five six seven eight nine", "too short to be seen"]
    index = build_index(_config(tmp_path, items))
    assert index.coverage["set"].unchecked == 1
    assert index.hits("x one two three four five six seven eight nine y", "en")
    assert index.hits("x one two three four five six seven eight y", "en") == []
    assert index.hits(items[1], "en") == []


def test_an_instruction_common_to_the_set_is_no_hit(tmp_path: Path) -> None:
    rng = random.Random()
    prompt = "Read the following question with care and then choose the one best answer of four"
    # No two questions go on with the same word: such an n-gram would be of two items only.
    items = [f"{prompt} {word} {_sentence(rng, 19)}" for word in rng.sample(WORDS, 40)]
    index = build_index(_config(tmp_path, items))
    assert index.coverage["set"].common_ngrams > 0
    assert index.hits(prompt, "en") == []
    assert len(index.hits(items[3], "en")) == 1


def test_an_ngram_of_one_repeated_word_says_nothing(tmp_path: Path) -> None:
    index = build_index(_config(tmp_path, ["1 2 2 2 2 2 2 2 2 2 2 2 2 is what he wrote that day"]))
    assert index.hits("1 2 2 2 2 2 2 2 2 2 2 2 2", "en") == []


def test_the_file_gives_the_same_index(tmp_path: Path) -> None:
    rng = random.Random()
    items = [_sentence(rng, 30) for _ in range(20)]
    index = build_index(_config(tmp_path, items))
    save_index(index, tmp_path / "a.index")
    again = load_index(tmp_path / "a.index")
    save_index(again, tmp_path / "b.index")
    assert (tmp_path / "a.index").read_bytes() == (tmp_path / "b.index").read_bytes()
    assert again.hits(items[7], "en") == index.hits(items[7], "en") != []
    assert again.coverage == index.coverage


@pytest.mark.parametrize("size", [0, 5, 200, -8])
def test_a_cut_or_foreign_file_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut.index"
    save_index(build_index(_config(tmp_path, [_sentence(random.Random(), 40)])), path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CorpusError, match=r"cut\.index"):
        load_index(path)


def test_no_benchmarks_make_an_empty_index(tmp_path: Path) -> None:
    index = build_index(DecontaminateConfig())
    save_index(index, tmp_path / "e.index")
    assert load_index(tmp_path / "e.index").hits("any text at all", "en") == []


def test_files_of_every_format(tmp_path: Path) -> None:
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    row = {"q": "What is it?", "choices": ["a b", "c"], "meta": {"x": "deep"}}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n\n")
    (tmp_path / "a.json").write_text(json.dumps({"version": "1", "data": [row]}))
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write(json.dumps(row))
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    fields = ["q", "choices", "meta.x"]
    for name in ("a.jsonl", "a.json", "b.jsonl.gz", "a.parquet"):
        benchmark = BenchmarkConfig(name="s", path=str(tmp_path / name), fields=fields)
        assert list(read_items(benchmark)) == [(f"{name}:1", ["What is it? a b c deep"])]
    (tmp_path / "a.csv").write_text("q,a\nWhat?,this\n")
    by_name = BenchmarkConfig(name="s", path=str(tmp_path / "a.csv"), fields=["q"])
    assert list(read_items(by_name)) == [("a.csv:1", ["What?"])]
    by_number = BenchmarkConfig(name="s", path=str(tmp_path / "a.csv"), fields=["1"])
    assert list(read_items(by_number)) == [("a.csv:1", ["a"]), ("a.csv:2", ["this"])]
    (tmp_path / "a.txt").write_text("first\n\nsecond\n")
    text = BenchmarkConfig(name="s", path=str(tmp_path / "*.txt"))
    assert [pieces for _, pieces in read_items(text)] == [["first"], ["second"]]


def test_a_broken_set_stops_with_file_and_record(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"q": "fine"}\n{"other": 1}\n')
    benchmark = BenchmarkConfig(name="s", path=str(path), fields=["q"])
    with pytest.raises(CorpusError, match=r"bad\.jsonl: record 2: no field 'q'; it has: other"):
        list(read_items(benchmark))
    path.write_text("{broken\n")
    with pytest.raises(CorpusError, match=r"bad\.jsonl"):
        list(read_items(benchmark))
    gone = DecontaminateConfig(benchmarks=[BenchmarkConfig(name="s", path=str(tmp_path / "no*"))])
    with pytest.raises(ConfigError, match=r"decontaminate\.benchmarks\.0\.path"):
        external_inputs(gone, "decontaminate")
    with pytest.raises(CorpusError, match="none of its 1 items"):
        build_index(_config(tmp_path, ["short"]))


def test_reports_add_up_in_any_order(tmp_path: Path) -> None:
    rng = random.Random()
    items = [_sentence(rng, 30) for _ in range(6)]
    index = build_index(_config(tmp_path, items))
    texts = [items[0], f"{items[0]} {items[1]}", "nothing here", items[4]]
    rows = []
    for text in texts:
        part = Contamination()
        part.add(index.hits(text, "en"))
        rows.append(part.rows())
    reports = []
    for order in (rows, rows[::-1]):
        whole = Contamination()
        for row in order:
            whole.merge(json.loads(json.dumps(row)))
        reports.append(whole.report(index.coverage))
    assert reports[0] == reports[1]
    (report,) = reports[0]
    assert (report.items, report.contaminated_items, report.documents) == (6, 3, 3)


@pytest.mark.data
def test_a_real_benchmark_is_found_in_a_real_text(data_dir: Path, tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(data_dir / "benchmarks.tar.gz") as tar:
        raw = tar.extractfile("benchmarks/gsm8k/test.jsonl")
        assert raw is not None
        (tmp_path / "gsm8k.jsonl").write_bytes(raw.read())
    benchmark = BenchmarkConfig(
        name="gsm8k", path=str(tmp_path / "gsm8k.jsonl"), fields=["question"]
    )
    index: Index = build_index(DecontaminateConfig(benchmarks=[benchmark]))
    assert index.coverage["gsm8k"].items == 1319
    assert index.coverage["gsm8k"].unchecked <= 3
    for name, (item,) in list(read_items(benchmark))[:200]:
        assert any(hit.item == name for hit in index.hits(f"Forum: {item} Thanks!", "en"))
