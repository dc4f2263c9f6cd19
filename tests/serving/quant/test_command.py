import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from clusters.config import ConfigError
from clusters.progress import Progress
from serving.cli import app
from serving.directory import ModelError
from serving.load import load_engine, load_model
from serving.quant.calibration import read_text
from serving.quant.linear import Int4Linear
from serving.quant.work import work_beside
from tests.serving.quant.conftest import as_tokens


def run(*arguments: object) -> Any:
    result = CliRunner().invoke(app, ["quantize", *map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    return result


def test_pack_and_measure(loud_dir: Path, text_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    result = run(
        loud_dir, "--out", out, "--group", 32, "--calibration", text_file, "--windows", 4, "--json"
    )
    told = json.loads(result.stdout)
    assert told["config"]["method"] == "awq"
    assert "method awq" in result.stderr
    measured = told["measured"]
    before, after = (measured[side]["perplexity"] for side in ("original", "quantised"))
    assert before["tokens"] == after["tokens"] > 1000
    assert 0 < abs(after["value"] / before["value"] - 1) < 0.5
    assert abs(measured["kv8"]["value"] / before["value"] - 1) < 0.1
    assert 0 < measured["agreement"]["first"] <= 1
    assert set(measured["quantised"]["speed"]) == {"1", "8", "64"}
    assert all(speed > 0 for speed in measured["quantised"]["speed"].values())
    disk = measured["memory"]["quantised"]["disk"]
    assert disk == sum(f.stat().st_size for f in out.glob("*.safetensors"))
    assert disk < measured["memory"]["original"]["disk"]
    assert json.loads((out / "quantize.json").read_text()) == told
    config = json.loads((out / "config.json").read_text())
    assert config["inkstone_quantization"]["dense_rows"] == measured["dense_rows"]
    assert [p.name for p in tmp_path.iterdir()] == ["packed"]
    load_engine(out, slots=1).close()


def test_table_without_text(bf16_dir: Path, tmp_path: Path) -> None:
    result = run(bf16_dir, "--out", tmp_path / "packed", "--bits", 8)
    assert "decode, batch 64, tokens/s" in result.stdout
    assert "perplexity" not in result.stdout
    assert "perplexity is not measured" in result.stderr
    assert "method rtn" in result.stderr


def test_measured_copies_are_the_engines_default(bf16_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    run(bf16_dir, "--out", out, "--group", 32, "--no-measure")
    config = json.loads((out / "config.json").read_text())
    assert config["inkstone_quantization"]["dense_rows"] is None
    config["inkstone_quantization"]["dense_rows"] = 5
    (out / "config.json").write_text(json.dumps(config))

    def copies(**options: Any) -> set[int | None]:
        engine = load_engine(out, slots=1, **options)
        modules = engine._runner._model.modules()  # type: ignore[attr-defined]
        found = {m._dense_rows for m in modules if isinstance(m, Int4Linear) and m.dense_rows}
        decoder = engine._runner._decoder  # type: ignore[attr-defined]
        found |= {layer._qkv._joined.dense_rows for layer in decoder._layers}
        engine.close()
        return found - {None}

    assert copies() == {5}
    assert copies(dense_rows=9) == {9}
    assert copies(dense_rows=0) == set()


def test_a_half_written_folder_is_refused(bf16_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    run(bf16_dir, "--out", out, "--group", 32, "--no-measure")
    (file,) = out.glob("*.safetensors")
    whole = load_file(file)
    del whole["model.layers.1.mlp.up_proj.scales"]
    save_file(whole, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights are missing, e\.g\. .*up_proj\.scales"):
        load_model(out)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match="damaged or half written"):
        load_model(out)
    file.unlink()
    with pytest.raises(ModelError, match=r"no \.safetensors file"):
        load_model(out)


def test_wrong_options_leave_nothing_behind(
    loud_dir: Path, text_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    empty, short, odd = (tmp_path / name for name in ("empty.txt", "short.txt", "odd.jsonl"))
    empty.write_text("")
    short.write_text("A stage writes one directory.")
    odd.write_text('{"text": "well"}\n{"body": 3}\n')
    kept = sorted(tmp_path.iterdir())
    for arguments, says in (
        (["--method", "awq"], "needs text to search scales on"),
        (["--method", "gguf"], "method: Input should be 'rtn', 'awq' or 'nf4'"),
        (["--group", "48"], "group_size: "),
        (["--bits", "8", "--method", "nf4"], "8 goes with method rtn"),
        (["--calibration", tmp_path / "none.txt"], "no such file"),
        (["--calibration", empty], "no text in it"),
        (["--calibration", short], "tokens, at least 1024 are needed"),
        (["--calibration", odd], r"odd\.jsonl:2: no field"),
        (["--eval", short], "at least 512 are needed"),
    ):
        with pytest.raises(ConfigError, match=says):
            run(loud_dir, "--out", out, *arguments)
    out.mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        run(loud_dir, "--out", out)
    out.rmdir()
    out.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="exists already"):
        run(loud_dir, "--out", out)
    out.unlink()
    with pytest.raises(ConfigError, match="cannot be made: Not a directory"):
        run(loud_dir, "--out", odd / "below")
    assert sorted(tmp_path.iterdir()) == kept


def test_a_failure_halfway_leaves_nothing(
    loud_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="disk full"):
        run(loud_dir, "--out", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_killed_it_goes_on_where_it_was(loud_dir: Path, text_file: Path, tmp_path: Path) -> None:
    asked = [loud_dir, "--group", 32, "--calibration", text_file, "--windows", 4, "--no-measure"]
    token, whole, out = tmp_path / "token", tmp_path / "whole", tmp_path / "packed"
    run(*asked, "--out", whole)
    token.touch()
    options = [*asked, "--out", out, "--threads", torch.get_num_threads()]
    killed = subprocess.run(
        [sys.executable, "-m", "serving", "quantize", *map(str, options)],
        env={
            **os.environ,
            "PYTHONPATH": os.getcwd(),
            "INKSTONE_FAILPOINT": f"unit.quantize.after_publish:{token}",
        },
        timeout=500,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    kept = tmp_path / ".packed.partial"
    (first,) = (kept / "parts").rglob("*.safetensors")
    with work_held(kept), pytest.raises(ConfigError, match="another command is making it"):
        run(*options)
    written = first.stat().st_mtime_ns
    assert "peak memory" in run(*options).stderr
    weights = sorted(out.glob("*.safetensors"))
    assert weights[0].stat().st_mtime_ns == written  # linked into place, not made again
    for file in weights:
        assert file.read_bytes() == (whole / file.name).read_bytes()
    assert not kept.exists()


@contextlib.contextmanager
def work_held(folder: Path) -> Iterator[None]:
    """Another process's hold on a work folder."""
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_pieces_of_other_options_are_not_taken(loud_dir: Path, tmp_path: Path) -> None:
    out, kept = tmp_path / "packed", tmp_path / ".packed.partial"

    def broken_off() -> None:
        with work_beside(out, {"config": "of another command"}, Progress()) as work:
            with work.units.start("quantize/00000") as unit:
                unit.path("model/int4-00000.safetensors").write_bytes(b"of another command")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        broken_off()
    assert kept.exists()
    run(loud_dir, "--out", out, "--group", 32, "--no-measure")
    assert not kept.exists()
    load_model(out)


def test_text_of_every_kind(loud_dir: Path, text_file: Path, tmp_path: Path) -> None:
    lines = tmp_path / "prose.jsonl"
    lines.write_text("".join(json.dumps({"text": "The river bank."}) + "\n" for _ in range(5)))
    assert len(read_text(lines, loud_dir, "train").ids) > 10
    artifact = as_tokens(loud_dir, tmp_path, 3000)
    for place in (artifact.directory, artifact.root, artifact.root / "tokens" / "train"):
        assert len(read_text(place, loud_dir, "train").ids) == 3000
    early, late = read_text(text_file, loud_dir, "train").split()
    windows = early.windows(8, 64)
    assert len(windows) == 8
    assert {len(window) for window in windows} == {64}
    assert len(late.ids) == pytest.approx(len(early.ids) / 4, abs=2)
