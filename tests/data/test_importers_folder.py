import os
from pathlib import Path

import pytest

from lrcn.data.importers import IMPORTERS, import_data
from lrcn.data.importers.folder import import_folder
from lrcn.data.manifest import Row, write_manifest
from lrcn.errors import LrcnError


def tree(folder: Path, *files: str) -> Path:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def brief(folder: Path, rows: list[Row]) -> list[tuple[str | None, str | None, str]]:
    return [(row.split, row.label, os.path.relpath(row.path, folder)) for row in rows]


# ---- class folders ----


def test_videos_and_folders_of_frames_are_clips(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "wave/b.mp4",
        "wave/A.AVI",
        "wave/notes.txt",
        "wave/.hidden.mp4",
        "wave/take 1/0001.jpg",
        "wave/take 1/0002.jpg",
        "wave/take 1/labels.txt",
        "run/deep/er/c.mkv",
        "run/deep/frames/1.png",
        "empty/readme.md",
        "__MACOSX/wave/._b.mp4",
        "loose.mp4",
    )
    rows, sentences = import_folder(tmp_path)
    assert brief(tmp_path, rows) == [
        (None, "run", "run/deep/er/c.mkv"),
        (None, "run", "run/deep/frames"),
        (None, "wave", "wave/A.AVI"),
        (None, "wave", "wave/b.mp4"),
        (None, "wave", "wave/take 1"),
    ]
    assert sentences == [f"Found 5 clips of 2 classes in {tmp_path}.", "No clips in: empty; left out."]


def test_a_relative_folder_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "d/a/1.mp4", "d/b/1.mp4")
    monkeypatch.chdir(tmp_path)
    rows, _ = import_folder("d")
    assert [row.path for row in rows] == [str(tmp_path / "d/a/1.mp4"), str(tmp_path / "d/b/1.mp4")]


def test_links_are_followed_and_a_link_back_up_is_no_trap(tmp_path: Path) -> None:
    tree(tmp_path, "elsewhere/1.mp4", "d/a/2.mp4")
    (tmp_path / "d/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "d/a/up").symlink_to(tmp_path / "d/a")
    rows, _ = import_folder(tmp_path / "d")
    assert brief(tmp_path / "d", rows) == [(None, "a", "a/2.mp4"), (None, "b", "b/1.mp4")]


# ---- ready-made splits ----


@pytest.mark.parametrize("dev", ["val", "valid", "validation", "dev"])
def test_ready_made_splits_are_kept(tmp_path: Path, dev: str) -> None:
    tree(
        tmp_path,
        "Train/a/1.mp4",
        "Train/b/2.mp4",
        f"{dev}/a/3.mp4",
        "test/b/4.mp4",
        "test/c/5.mp4",
        "docs/x.md",
    )
    rows, sentences = import_folder(tmp_path)
    assert {(row.split, row.label, Path(row.path).stem) for row in rows} == {
        ("train", "a", "1"),
        ("train", "b", "2"),
        ("dev", "a", "3"),
        ("test", "b", "4"),
        ("test", "c", "5"),
    }
    assert "The folders' splits were kept: 2 train, 1 dev, 2 test." in sentences
    assert "Left out, being no split: docs." in sentences
    assert "Not in train, so nothing can learn them: c." in sentences


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    rows, _ = import_folder(tree(tmp_path, "train/1.mp4", "bus/2.mp4"))
    assert brief(tmp_path, rows) == [(None, "bus", "bus/2.mp4"), (None, "train", "train/1.mp4")]


def test_a_split_without_class_folders(tmp_path: Path) -> None:
    with pytest.raises(LrcnError, match="test holds videos but no class folders"):
        import_folder(tree(tmp_path, "train/a/1.mp4", "train/b/1.mp4", "test/2.mp4"))


# ---- what is no data set ----


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], "There are no clips"),
        (["a/notes.txt"], "There are no clips"),
        (["1.mp4", "2.mp4"], "holds videos but no class folders"),
        (["a/1.jpg", "b/1.jpg"], "a holds loose images; put the frames of each clip into a sub-folder"),
        (["1.jpg"], "holds images but no clips"),
        (["a/1.mp4", "b/notes.txt"], r"one class only \('a'\); add a folder or a label for another\.$"),
        (["UCF/run/1.mp4", "UCF/sit/1.mp4"], "or give .*/UCF if the classes are inside it"),
    ],
)
def test_a_folder_that_is_no_data_set(tmp_path: Path, files: list[str], says: str) -> None:
    with pytest.raises(LrcnError, match=says):
        import_folder(tree(tmp_path, *files))


def test_what_is_no_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tree(tmp_path, "a.mp4") / "a.mp4"):
        with pytest.raises(LrcnError, match="is not a folder"):
            import_folder(path)


# ---- a table inside ----


def test_a_table_is_used_and_another_name_for_the_group_is_known(tmp_path: Path) -> None:
    tree(tmp_path, "x/1.mp4", "x/2.mp4", "x/3.mp4", "y/unlisted.mp4")
    (tmp_path / "clips.csv").write_text(
        "path,label,subject,source,split\nx/1.mp4,a,1,s,train\nx/2.mp4,b,2,s,val\nx/3.mp4,b,2,s,odd\n"
    )
    rows, sentences = import_folder(tmp_path)
    # Every clip is of one source here, so the source tells nothing and the subject is taken.
    assert [(row.label, row.group, row.split) for row in rows] == [
        ("a", "1", "train"),
        ("b", "2", "dev"),
        ("b", "2", "odd"),
    ]
    assert rows[0].extra == {"subject": "1", "source": "s"}
    assert sentences == [
        f"Used {tmp_path / 'clips.csv'}: 3 rows of 2 classes.",
        "Its splits were kept: 1 train, 1 dev, 1 odd.",
        "Took the column 'subject' as the group: 2 groups.",
    ]


@pytest.mark.parametrize(
    "column",
    [
        "group,source\nx/1.mp4,a,g,s1\nx/2.mp4,b,g,s2\nx/3.mp4,b,g,s2\n",
        "source\nx/1.mp4,a,s1\nx/2.mp4,b,s2\nx/3.mp4,b,\n",
    ],
)
def test_a_column_is_no_group_beside_a_group_or_when_it_has_gaps(tmp_path: Path, column: str) -> None:
    tree(tmp_path, "x/1.mp4", "x/2.mp4", "x/3.mp4")
    (tmp_path / "clips.csv").write_text("path,label," + column)
    rows, sentences = import_folder(tmp_path)
    assert {row.group for row in rows} == ({"g"} if column.startswith("group") else {None})
    assert len(sentences) == 1


def test_a_manifest_comes_before_a_table(tmp_path: Path) -> None:
    tree(tmp_path, "1.mp4", "2.mp4", "clips.csv")
    wanted = [Row(str(tmp_path / "1.mp4"), "a"), Row(str(tmp_path / "2.mp4"), "b")]
    write_manifest(wanted, tmp_path / "manifest.jsonl")
    rows, sentences = import_folder(tmp_path)
    assert rows == wanted
    assert sentences == [f"Used {tmp_path / 'manifest.jsonl'}: 2 rows of 2 classes."]


def test_gaps_of_a_table_are_told(tmp_path: Path) -> None:
    tree(tmp_path, "1.mp4", "2.mp4")
    (tmp_path / "clips.csv").write_text("path,label\n1.mp4,a\n2.mp4,b\nhttps://host/3.mp4,b\n4.mp4,\n")
    _, sentences = import_folder(tmp_path)
    assert sentences[1:] == [
        f"Missing: 1 of the 4 files named there, such as {tmp_path / '4.mp4'}.",
        "Without a label: 1 of 4 rows.",
    ]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("path,label\n3.mp4,a\n4.mp4,b\n", "None of the 2 files named in .* exists, such as .*3.mp4"),
        ("path,label\n1.mp4,a\n2.mp4,a\n", "clips.csv holds clips of one class only"),
        ("path\n1.mp4\n2.mp4\n", "No row of .* has a label or a caption"),
        ("file,label\n1.mp4,a\n", "the column 'path' is missing"),
    ],
)
def test_a_table_that_is_no_data_set(tmp_path: Path, table: str, says: str) -> None:
    tree(tmp_path, "1.mp4", "2.mp4")
    (tmp_path / "clips.csv").write_text(table)
    with pytest.raises(LrcnError, match=says):
        import_folder(tmp_path)


def test_captions_need_no_classes(tmp_path: Path) -> None:
    tree(tmp_path, "1.jpg")
    (tmp_path / "clips.csv").write_text("path,caption\n1.jpg,A dog.\n")
    rows, _ = import_folder(tmp_path)
    assert rows[0].captions == ("A dog.",)


# ---- by name ----


def test_importers_go_by_name(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.mp4", "b/1.mp4")
    assert import_data("folder", str(tmp_path)) == import_folder(tmp_path)
    with pytest.raises(LrcnError, match="no importer 'floder'; the importers are .*folder"):
        import_data("floder", tmp_path)


def test_every_name_leads_to_a_function(tmp_path: Path) -> None:
    for name in IMPORTERS:
        with pytest.raises(LrcnError):
            import_data(name, tmp_path / "none")
