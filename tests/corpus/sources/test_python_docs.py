from importlib import metadata
from pathlib import Path

import pytest

from clusters.config import ConfigError
from corpus.config import PythonDocsSource
from corpus.sources import python_docs
from corpus.sources.record import BadRecord, Record


def _install(site: Path, name: str, files: dict[str, str]) -> None:
    """A distribution as pip leaves it, RECORD included."""
    info = f"{name}-1.0.dist-info"
    files = {f"{info}/METADATA": f"Name: {name}\nVersion: 1.0\n\nThe readme of {name}.\n", **files}
    lines = []
    for path, text in files.items():
        target = site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        lines.append(f"{path},sha256={abs(hash(text)):x},{len(text)}")
    lines += [f"{info}/RECORD,,", "../../../bin/tool,sha256=abc,10"]
    (site / info / "RECORD").write_text("\n".join(lines) + "\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with two small packages."""
    root = tmp_path / "site"
    module = '"""Adds numbers."""\ndef add(a, b):\n    """Add."""\n'
    _install(root, "alpha", {
        "alpha/__init__.py": module,
        "alpha/tests/test_add.py": module,
        "alpha/guide.md": "# Guide\n",
        "alpha/requirements.txt": "numpy\n",
        "alpha/_vendor/gamma-2.dist-info/METADATA": "Name: gamma\n\nVendored.\n",
        "alpha/broken.py": "def f(:\n",
    })  # fmt: skip
    _install(root, "beta_pkg", {"beta.py": module.replace("Adds", "Beta adds")})
    monkeypatch.setattr(
        metadata, "distributions", lambda: metadata.MetadataPathFinder.find_distributions(
            metadata.DistributionFinder.Context(path=[str(root)])
        )
    )  # fmt: skip
    return root


def _records(source: PythonDocsSource) -> list[Record | BadRecord]:
    groups = python_docs.groups(source, "sources.0")
    return [r for group in groups for file in group for r in python_docs.read_file(file)]


def test_reads_modules_readmes_and_documents_and_skips_tests(site: Path) -> None:
    records = {record.id: record for record in _records(PythonDocsSource())}
    assert set(records) == {
        "alpha/README", "alpha/alpha", "alpha/alpha/guide.md", "alpha/alpha.broken",
        "beta-pkg/README", "beta-pkg/beta",
    }  # fmt: skip
    module = records["alpha/alpha"]
    assert isinstance(module, Record)
    assert module.source == "docstrings"
    assert "## alpha.add(a, b)" in module.text
    broken = records["alpha/alpha.broken"]
    assert isinstance(broken, BadRecord)
    assert broken.reason.startswith("unparsable")


def test_fingerprint_follows_versions_and_contents_not_the_place(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = python_docs.external_inputs(PythonDocsSource(), "sources.0")
    assert [item.name for item in before] == ["sources.0/alpha-1.0", "sources.0/beta-pkg-1.0"]
    moved = tmp_path / "elsewhere"
    site.rename(moved)
    finder = metadata.MetadataPathFinder
    context = metadata.DistributionFinder.Context(path=[str(moved)])
    monkeypatch.setattr(metadata, "distributions", lambda: finder.find_distributions(context))
    assert python_docs.external_inputs(PythonDocsSource(), "sources.0") == before
    record = moved / "alpha-1.0.dist-info" / "RECORD"
    record.write_text(
        record.read_text().replace("alpha/guide.md,sha256=", "alpha/guide.md,sha256=f")
    )
    assert python_docs.external_inputs(PythonDocsSource(), "sources.0") != before


def test_shards_are_cut_by_bytes_and_cover_all_files(site: Path) -> None:
    whole = python_docs.groups(PythonDocsSource(), "sources.0")
    small = python_docs.groups(PythonDocsSource(shard_bytes=40), "sources.0")
    assert len(whole) == 1
    assert len(small) > 2
    assert [f for group in small for f in group] == whole[0]


def test_unknown_package_names_the_key_and_the_nearest(site: Path) -> None:
    with pytest.raises(ConfigError, match=r"^sources\.3\.packages\.1: 'alphq'.*alpha"):
        python_docs.groups(PythonDocsSource(packages=["beta-pkg", "alphq"]), "sources.3")


def test_a_file_gone_from_the_disk_is_a_bad_record(site: Path) -> None:
    (site / "beta.py").unlink()
    bad = [r for r in _records(PythonDocsSource()) if isinstance(r, BadRecord)]
    assert "beta-pkg/beta" in [record.id for record in bad]


def test_a_file_without_hash_is_read_and_named_where_it_is_gone(site: Path) -> None:
    record = site / "alpha-1.0.dist-info" / "RECORD"
    guide = site / "alpha" / "guide.md"
    lines = [
        "alpha/guide.md,," if line.startswith("alpha/guide.md,") else line
        for line in record.read_text().splitlines()
    ]
    record.write_text("\n".join(lines) + "\n")
    before = python_docs.external_inputs(PythonDocsSource(), "sources.0")
    guide.write_text("# Another guide\n")
    assert python_docs.external_inputs(PythonDocsSource(), "sources.0") != before
    guide.unlink()
    with pytest.raises(
        ConfigError, match=r"^sources\.2: package alpha: .*alpha/guide\.md.*exclude"
    ):
        python_docs.external_inputs(PythonDocsSource(), "sources.2")
    assert python_docs.external_inputs(PythonDocsSource(exclude=("alpha",)), "sources.2")


def test_the_real_environment_hashes_fast_and_repeats() -> None:
    source = PythonDocsSource(packages=["numpy", "pydantic"])
    first = python_docs.external_inputs(source, "s")
    assert first == python_docs.external_inputs(source, "s")
    assert all(item.bytes > 100_000 for item in first)
