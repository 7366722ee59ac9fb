"""Data sets of described videos, each in its exact layout in miniature."""

import json
from pathlib import Path

import pytest

from lrcn.data.importers import import_data
from lrcn.data.manifest import read_manifest, write_manifest
from lrcn.errors import LrcnError


def put(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def videos(folder: Path, *names: str) -> None:
    for name in names:
        put(folder / name)


def told(rows):
    return {row.id: (row.split, row.group, row.captions) for row in rows}


def survives(rows, folder: Path) -> None:
    write_manifest(rows, folder / "clips.jsonl")
    assert read_manifest(folder / "clips.jsonl") == rows


# ---- tacos ----

TACOS = (
    "clip\tsplit\tstart\tend\ttuple\tsentence\n"
    's13-d21\ttrain\t0:12.5\t20\t<knife, cut, carrot, board>\tHe says "chop" and cuts a carrot.\n'
    "s13-d21\ttrain\t0:12.5\t20\t<knife, cut, carrot, board>\tThe person  chops the carrot.\n"
    "s13-d21\ttrain\t20\t31\thand;take out;NULL;fridge\tShe opens the fridge.\n"
    "s13-d22\ttest\t\t\t('wash', -, sink)\tHe washes.\n"
    "s13-d22\ttest\t9\t3\t<wash>\tEnds before it starts.\n"
    "\ttest\t\t\t<wash>\tNo clip.\n"
    "s13-d22\ttest\t\t\t<wash>\t\n"
)


def test_tacos(tmp_path):
    table = put(tmp_path / "tacos.tsv", TACOS)
    rows, sentences = import_data("tacos", table)
    assert told(rows) == {
        "s13-d21_12.5_20": (
            "train",
            "s13-d21",
            ('He says "chop" and cuts a carrot.', "The person chops the carrot."),
        ),
        "s13-d21_20_31": ("train", "s13-d21", ("She opens the fridge.",)),
        "s13-d22": ("test", None, ("He washes.",)),
    }
    assert [row.extra["tuple"] for row in rows] == [
        ["knife", "cut", "carrot", "board"],
        ["hand", "take out", "fridge"],
        ["wash", "sink"],
    ]
    assert (rows[0].start, rows[0].end, rows[2].start) == (12.5, 20.0, None)
    assert sentences == [
        f"Found 3 clips with 4 sentences of tacos.tsv in {tmp_path}: 2 train, 1 test.",
        f"No video of them is below {tmp_path}: their rows serve for labels and features alone.",
        "Damaged and left out: 3 places: tacos.tsv line 6, tacos.tsv line 7, tacos.tsv line 8.",
    ]
    survives(rows, tmp_path)


def test_tacos_with_labels_in_columns_of_their_own_and_with_videos(tmp_path):
    put(
        tmp_path / "lists/table.csv",
        "video,activity,source,sentence\na,take out,fridge,He cuts.\nb,wash,,She washes.\n",
    )
    videos(tmp_path / "videos", "A.avi", "c.avi")
    rows, sentences = import_data("tacos", tmp_path / "videos", lists=tmp_path / "lists")
    assert [(Path(row.path).name, row.extra) for row in rows] == [
        ("A.avi", {"activity": "take out", "source": "fridge"})
    ]
    assert "Missing and left out: 1 videos: b." in sentences


def test_tacos_without_labels_or_sentences_is_refused(tmp_path):
    put(tmp_path / "a.csv", "clip,sentence\na,He cuts.\n")
    with pytest.raises(LrcnError, match="no column of labels: name one 'tuple'"):
        import_data("tacos", tmp_path)
    put(tmp_path / "a.csv", "clip,tuple\na,<cut>\n")
    with pytest.raises(LrcnError, match="columns clip, tuple: name one 'video' and one 'sentence'"):
        import_data("tacos", tmp_path)
    put(tmp_path / "a.csv", "clip,tuple,sentence\na,<cut>,\n")
    with pytest.raises(LrcnError, match="has no sentences"):
        import_data("tacos", tmp_path)


# ---- descriptions-csv ----


def test_descriptions_csv(tmp_path):
    put(
        tmp_path / "descriptions.csv",
        "id,path,Caption1,caption 2,subset,subject,mood\n"
        'one,a.mp4,"A man, alone.",He waits.,val,p1,calm\ntwo,b.mp4,,,train,p2,\nthree,a.mp4,He goes.,,train,p3,calm\n',
    )
    videos(tmp_path, "a.mp4", "b.mp4")
    rows, sentences = import_data("descriptions-csv", tmp_path)
    assert told(rows) == {
        "one": ("dev", "p1", ("A man, alone.", "He waits.")),
        "three": ("train", "p3", ("He goes.",)),
    }
    assert rows[0].extra == {"mood": "calm"} and rows[0].path == str(tmp_path / "a.mp4")
    assert "Damaged and left out: 1 places: descriptions.csv line 3." in sentences
    survives(rows, tmp_path)


# ---- msvd ----

MSVD = """# Captions of MSVD
#
mv89psg6zh4_33_46 a bird in a sink keeps getting under the running water
mv89psg6zh4_33_46 A bird  is bathing in a sink.

-_hbPLsZvvo_5_8 a dog is drinking
nowords_1_2
late__video_10_20 a cat sleeps
"""


def test_msvd(tmp_path):
    put(tmp_path / "AllVideoDescriptions.txt", MSVD)
    videos(tmp_path / "YouTubeClips", "mv89psg6zh4_33_46.avi", "-_hbPLsZvvo_5_8.avi", "late__video_10_20.avi")
    put(
        tmp_path / "youtube_mapping.txt",
        "mv89psg6zh4_33_46 vid1\n-_hbPLsZvvo_5_8 vid1300\nlate__video_10_20 vid1301\n",
    )
    rows, sentences = import_data("msvd", tmp_path)
    assert told(rows) == {
        "mv89psg6zh4_33_46": (
            "train",
            "mv89psg6zh4",
            ("a bird in a sink keeps getting under the running water", "A bird is bathing in a sink."),
        ),
        "-_hbPLsZvvo_5_8": ("dev", "-_hbPLsZvvo", ("a dog is drinking",)),
        "late__video_10_20": ("test", "late__video", ("a cat sleeps",)),
    }
    assert all(row.start is None and row.path.endswith(".avi") for row in rows)
    assert "Damaged and left out: 1 places: AllVideoDescriptions.txt line 7." in sentences
    assert "The split is the usual one, by the numbers in youtube_mapping.txt." in sentences
    # Lists, where there are such, come first.
    for name, clip in (
        ("train", "late__video_10_20.avi"),
        ("val", "mv89psg6zh4_33_46"),
        ("test", "-_hbPLsZvvo_5_8"),
    ):
        put(tmp_path / f"{name}_list.txt", f"{clip}\n")
    rows, _ = import_data("msvd", tmp_path)
    assert [row.split for row in rows] == ["dev", "test", "train"]


def test_msvd_as_a_table_and_without_splits(tmp_path):
    header = "VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description\n"
    lines = 'abc,1,4,8,clean,3,English,"a man, running"\nabc,1,4,8,clean,3,German,ein Mann\nabc,1,,8,clean,3,English,x'
    put(tmp_path / "lists/MSR Video Description Corpus.csv", header + lines)
    rows, sentences = import_data("msvd", tmp_path, lists=tmp_path / "lists")
    assert told(rows) == {"abc_1_4": (None, "abc", ("a man, running",))}
    assert any("no clip has a split" in sentence for sentence in sentences)
    with pytest.raises(LrcnError, match=r"There is no AllVideoDescriptions.txt or MSR Video"):
        import_data("msvd", put(tmp_path / "empty/x").parent)


# ---- msr-vtt ----


def msrvtt(**changes):
    video = {
        "category": 9,
        "url": "https://www.youtube.com/watch?v=9lZi22qLlEo",
        "video_id": "video0",
        "start time": 137.72,
        "end time": 149.44,
        "split": "train",
        "id": 0,
    }
    return video | changes


def test_msrvtt(tmp_path):
    train = {
        "info": {"version": "1.0"},
        "videos": [
            msrvtt(),
            msrvtt(video_id="video1", split="validate", url="https://youtu.be/w4JM08PDEng"),
            {"no": "id"},
        ],
        "sentences": [
            {"caption": "a car is  shown", "video_id": "video0", "sen_id": 0},
            {"caption": "in a frying pan", "video_id": "video1", "sen_id": 1},
            {"caption": "of nobody", "video_id": "video7", "sen_id": 2},
        ],
    }
    test = {
        "videos": [msrvtt(video_id="video2", split="test")],
        "sentences": [{"caption": "a man sings", "video_id": "video2", "sen_id": 3}],
    }
    put(tmp_path / "train_val_videodatainfo.json", json.dumps(train))
    put(tmp_path / "test_videodatainfo.json", json.dumps(test))
    videos(tmp_path / "TrainValVideo", "video0.mp4", "video1.mp4", "video2.mp4")
    rows, sentences = import_data("msrvtt", tmp_path)
    # video0 and video2 are of one film, which the official split cuts in two.
    assert told(rows) == {
        "video2": ("test", None, ("a man sings",)),
        "video0": ("train", None, ("a car is shown",)),
        "video1": ("dev", "w4JM08PDEng", ("in a frying pan",)),
    }
    assert rows[0].extra == {"category": 9} and rows[0].start is None
    assert any("Damaged and left out: 2 places" in sentence for sentence in sentences)
    assert any("cuts in two, left out as groups: 9lZi22qLlEo" in sentence for sentence in sentences)
    survives(rows, tmp_path)


# ---- charades ----

CHARADES = (
    "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"
    '46GP8,HR43,Kitchen,6,7,Yes,"A person cooking, quickly.",food;stove,'
    '"A person cooks food on a stove.;A man ""stirs""."'
    ",c092 11.90 21.20;c147 0.00 12.60,24.83\n"
    "N11GT,0KZ7,Stairs,6,7,No,Walking.,,Person walks down stairs.,,18.33\n"
    "BAD00,0KZ7,Stairs,6,7,No,Walking.,,Person.,c092 soon,18.33\n"
)


def test_charades(tmp_path):
    put(tmp_path / "Charades/Charades_v1_train.csv", CHARADES)
    put(
        tmp_path / "Charades/Charades_v1_test.csv",
        CHARADES.partition("\n")[0] + "\nT0000,S1,Hallway,6,7,Yes,s,door,Opens.,,9\n",
    )
    put(
        tmp_path / "Charades/Charades_v1_classes.txt",
        "c092 Drinking from a glass\nc147 Someone is cooking something\n",
    )
    videos(tmp_path / "Charades_v1_480", "46GP8.mp4", "N11GT.mp4", "T0000.mp4")
    rows, sentences = import_data("charades", tmp_path)
    assert told(rows) == {
        "46GP8": ("train", "HR43", ("A person cooks food on a stove.", 'A man "stirs".')),
        "N11GT": ("train", "0KZ7", ("Person walks down stairs.",)),
        "T0000": ("test", "S1", ("Opens.",)),
    }
    assert rows[0].extra == {
        "scene": "Kitchen",
        "objects": ["food", "stove"],
        "actions": ["Someone is cooking something", "Drinking from a glass"],
    }
    assert rows[1].extra == {"scene": "Stairs"}
    assert "Damaged and left out: 1 places: Charades_v1_train.csv line 4." in sentences
    survives(rows, tmp_path)


def test_charades_without_its_tables_or_names(tmp_path):
    with pytest.raises(LrcnError, match=r"There is no Charades_v1_train.csv"):
        import_data("charades", tmp_path)
    put(tmp_path / "Charades_v1_train.csv", CHARADES)
    rows, sentences = import_data("charades", tmp_path)
    assert rows[0].extra["actions"] == ["c147", "c092"] and "called by their codes" in sentences[-1]


# ---- activitynet ----


def test_activitynet(tmp_path):
    video = {
        "duration": 82.73,
        "timestamps": [[0.83, 19.86], [17.37, 99.9], [50, 20], [1, None]],
        "sentences": ["A young woman is seen.", " The girl  dances.", "Backwards.", "No end."],
    }
    put(tmp_path / "captions/train.json", json.dumps({"v_QOlSCBRmfWY": video, "v_broken": {"timestamps": 3}}))
    val = {"duration": 9.0, "timestamps": [[0, 4]], "sentences": ["He waits."]}
    put(tmp_path / "captions/val_1.json", json.dumps({"v_uqiMw7tQ1Cc": val}))
    put(tmp_path / "captions/val_2.json", json.dumps({"v_uqiMw7tQ1Cc": val | {"sentences": ["He sits."]}}))
    put(tmp_path / "captions/train_ids.json", '["v_QOlSCBRmfWY"]')
    videos(tmp_path / "videos", "v_QOlSCBRmfWY.mp4", "v_uqiMw7tQ1Cc.mkv")
    rows, sentences = import_data("activitynet", tmp_path / "videos", lists=tmp_path / "captions")
    assert told(rows) == {
        "v_QOlSCBRmfWY_train_1": ("train", "v_QOlSCBRmfWY", ("A young woman is seen.",)),
        "v_QOlSCBRmfWY_train_2": ("train", "v_QOlSCBRmfWY", ("The girl dances.",)),
        "v_uqiMw7tQ1Cc_val_1_1": ("dev", "v_uqiMw7tQ1Cc", ("He waits.",)),
        "v_uqiMw7tQ1Cc_val_2_1": ("dev", "v_uqiMw7tQ1Cc", ("He sits.",)),
    }
    assert [(row.start, row.end) for row in rows] == [(0.83, 19.86), (17.37, 82.73), (0, 4), (0, 4)]
    assert any("Damaged and left out: 3 places" in sentence for sentence in sentences)
    survives(rows, tmp_path)


def test_activitynet_in_another_form_is_refused(tmp_path):
    put(tmp_path / "train.json", "[1, 2]")
    with pytest.raises(LrcnError, match="maps videos to timestamps"):
        import_data("activitynet", tmp_path)
    put(tmp_path / "train.json", "{")
    with pytest.raises(LrcnError, match="is not JSON"):
        import_data("activitynet", tmp_path / "train.json")
