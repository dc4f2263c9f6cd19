from pathlib import Path

import pytest

from contracts.question import Question, read_questions


def test_questions_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [
        Question(id=f"q{i}", uid=i, question="é?", choices=["a", "b"], answer=1) for i in (1, 2)
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(row.to_json() + "\n" for row in rows), encoding="utf-8")
    assert read_questions(path) == rows


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    good = Question(id="q", uid=1, question="?", choices=["a", "b"], answer=1).to_json()
    path = tmp_path / "questions.jsonl"
    path.write_text(good + "\n" + good.replace('"uid": 1', '"uid": "x"') + "\n")
    with pytest.raises(ValueError, match=r"questions\.jsonl:2: uid: Input should be a valid"):
        read_questions(path)
