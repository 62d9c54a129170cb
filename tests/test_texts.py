"""Every branch of every sentence: results on either side of a verdict, and the words that follow (notebooks/text)."""

import copy
import json

import pytest
from jinja2 import nodes

from cxr_helpers import show
from cxr_helpers.engine import files

FILES = ("01_adaptasi_bobot", "02_pelatihan", "03_analisis_overfitting", "04_perbaikan")
PARTS = dict(zip(("adaptation", "training", "overfitting", "remedies"), FILES, strict=True))
SAME = "tidak terbedakan"
ESTIMATE = {"value": 0.123, "ci95": [0.071, 0.175]}


@pytest.fixture(scope="module")
def real(built) -> dict[str, dict]:
    """The results of the smoke report."""
    return {name: built.result(name) for name in FILES}


@pytest.fixture
def say(real, tmp_path, monkeypatch):
    """say(file, macro, {dotted key: value, …}): the words of a template on the real results with these values in place."""
    monkeypatch.delenv(files.RESULTS, raising=False)
    (tmp_path / "results").mkdir()

    def said(name: str, macro: str, changes: dict | None = None) -> str:
        bodies = copy.deepcopy(real)
        for key, value in (changes or {}).items():
            file, *path, last = [name, *key.split(".")] if name != "laporan" else [PARTS[key.split(".")[0]], *key.split(".")[1:]]
            place = bodies[file]
            for step in path:
                place = place[int(step) if isinstance(place, list) else step]
            place[int(last) if isinstance(place, list) else last] = value
        for file, body in bodies.items():
            (tmp_path / f"results/{file}.json").write_text(json.dumps(body), encoding="utf-8")
        if name == "laporan":
            parts = {part: show.Chapter(file, tmp_path) for part, file in PARTS.items()}
            return show.Chapter(name, tmp_path, **parts).words(macro)[0]
        return show.Chapter(name, tmp_path).words(macro)[0]

    return said


ONE, TWO, THREE, FOUR = FILES
PATIENTS = {"train": 1193, "val": 164, "test": 360}
START = {"kind": "random", "difference": None}
WORDS = [
    (ONE, "text_changes", {"pooling.removed": True}, "ditiadakan"),
    (ONE, "text_changes", {"pooling.removed": False}, "dipertahankan"),
    (ONE, "text_architecture", {"pooling.removed": True, "pooling.work": 3.7}, "3,7 kali lipat"),
    (ONE, "text_architecture", {"pooling.removed": False}, "sama dengan pada batang aslinya"),
    (ONE, "tbl_strategi_caption", {"kernels.same_size": False}, "diperbesar dua kali"),
    (ONE, "text_strategies", {"provenance.weights.kind": "imagenet"}, "yang terbaik dari cara yang dicoba"),
    (ONE, "text_strategies", {"provenance.weights.kind": "gabor"}, "diperlukan bobot ImageNet"),
    (ONE, "text_drift", {"batch_norm.verdict": "better"}, "melampaui ketidakpastian"),
    (ONE, "text_drift", {"batch_norm.verdict": "worse"}, "justru merugikan"),
    (ONE, "text_drift", {"batch_norm.verdict": "undecided"}, "belum dapat dipastikan"),
    (ONE, "text_starts", {"starts_summary": {"better": ["A"], "worse": ["B"], "gabor": True}}, "bobot acak: A. Terbukti"),
    (ONE, "text_starts", {"starts_summary": {"better": [], "worse": [], "gabor": True}}, "bank Gabor"),
    (ONE, "text_starts", {"starts_summary": {"better": [], "worse": [], "gabor": False}}, "interval setiap selisih memuat nol."),
    (TWO, "text_filter", {"provenance.data.single_label_filter": True}, "satu-satunya labelnya"),
    (TWO, "text_filter", {"provenance.data.single_label_filter": False}, "tepat satu label"),
    (TWO, "text_overlap", {"provenance.data.shared": []}, "Tidak ada citra"),
    (TWO, "text_overlap", {"provenance.data.shared": [{"splits": ["train", "test"], "n": 3}]}, "3 citra latih dan uji"),
    (TWO, "text_patients", {"provenance.data.patients": PATIENTS}, "menarik pasien beserta semua citranya"),
    (TWO, "text_patients", {}, "Setiap citra fantom adalah pasien tersendiri"),
    (TWO, "text_patients", {"provenance.data.kind": "file"}, "interval itu terlalu sempit"),
    (TWO, "tbl_data", {"provenance.data.patients": PATIENTS}, " dari 1.193 pasien | "),
    (TWO, "tbl_uji_caption", {"provenance.data.patients": PATIENTS}, "citra uji dari 360 pasien, dibuka"),
    (TWO, "fig_riwayat_caption", {"provenance.data.patients": PATIENTS}, "citra validasi dari 164 pasien."),
    (THREE, "fig_keyakinan_caption", {"provenance.data.patients": PATIENTS}, "citra validasi dari 164 pasien (epoch"),
    (THREE, "tbl_klaim_caption", {"provenance.data.patients": PATIENTS}, "citra latih dari 1.193 pasien."),
    (THREE, "fig_belajar_alt", {"learning_curve.0.patients": 77}, "citra dari 77 pasien: latih"),
    (FOUR, "tbl_perbaikan_caption", {"provenance.data.patients": PATIENTS}, "citra uji dari 360 pasien setelah"),
    (FOUR, "tbl_jalan_pintas", {"shortcut.0.patients": 55}, " dari 55 pasien | "),
    (ONE, "tbl_awal_caption", {"provenance.data.patients": PATIENTS}, "citra latih dari 1.193 pasien dan"),
    ("laporan", "facts", {"training.provenance.data.patients": PATIENTS}, " uji dari 360 pasien"),
    ("laporan", "facts", {"training.provenance.data.patients": None}, " uji\n- Seed"),
    ("laporan", "abstract", {"training.provenance.data.patients": PATIENTS}, "citra latih dari 1.193 pasien ("),
    (TWO, "fig_contoh_caption", {"samples.outlines": None}, "(bawah)."),
    (TWO, "fig_contoh_caption", {"samples.outlines": {"jantung": []}}, "topeng kebenaran"),
    (TWO, "text_intensity", {"intensity.brighter": None}, "memuat 0,5: tidak terlihat"),
    (TWO, "text_intensity", {"intensity.brighter": 1}, "Pneumotoraks cenderung lebih terang"),
    (TWO, "tbl_resep", {"config.augment": []}, "| Augmentasi | tidak ada |"),
    (TWO, "tbl_resep", {"config.augment": ["geometry", "flip"]}, "| geometry, flip |"),
    (TWO, "text_history", {"summary.turned": True, "summary.rise": 0.25}, ", lalu naik 0,250 hingga epoch terakhir"),
    (TWO, "text_history", {"summary.turned": False}, ", yakni epoch terakhir"),
    (TWO, "text_test", {"beats_majority": True}, "seluruh interval kepercayaan berada di atasnya"),
    (TWO, "text_test", {"beats_majority": False}, "belum dapat dipastikan"),
    (TWO, "text_leakage", {"leakage.flatters": True, "leakage.flattery": ESTIMATE}, "(IK 95% berpasangan 7,1–17,5"),
    (TWO, "text_leakage", {"leakage.flatters": False}, "kebetulan sama"),
    (THREE, "fig_kesenjangan_caption", {"provenance.seeds": [0, 1, 2]}, ", rata-rata 3 seed, dengan interval"),
    (THREE, "fig_kesenjangan_caption", {"provenance.seeds": [0]}, "menurut epoch, dengan interval"),
    (THREE, "text_gap", {"final_gap": {**ESTIMATE, "side": "above"}}, "12,3 poin persen (IK 95% 7,1–17,5); seluruh"),
    (THREE, "text_gap", {"final_gap": {**ESTIMATE, "side": "below"}}, "justru lebih tinggi"),
    (THREE, "text_gap", {"final_gap": {**ESTIMATE, "side": "across"}}, "belum dapat dipastikan"),
    (THREE, "text_turn", {"turn.turned": False}, ": selama pelatihan ini ia belum berbalik naik"),
    (THREE, "text_turn", {"turn.turned": True, "turn.rises": True, "turn.each_seed": [2, 3]}, "epoch 2 dan 3), lalu"),
    (THREE, "text_turn", {"turn.turned": True, "turn.rises": False, "turn.each_seed": [2]}, "; kenaikan sesudahnya"),
    (THREE, "text_selection", {"selection.1.differs": False, "selection.2.differs": False}, "tidak terbedakan dari memakai"),
    (
        THREE,
        "text_selection",
        {"selection.1.differs": True, "selection.1.difference": {"acc": ESTIMATE}},
        "*loss* validasi mengubah akurasi uji sebesar +12,3",
    ),
    (THREE, "text_learning_curve", {"more_data_helps": True}, "memang membantu"),
    (THREE, "text_learning_curve", {"more_data_helps": False}, "bertumpang tindih"),
    (THREE, "text_memorisation", {"memorisation": None}, "tidak dapat diukur di sini"),
    (THREE, "text_memorisation", {"memorisation.follows": True}, "Hafalan itu nyata"),
    (THREE, "text_memorisation", {"memorisation.follows": False}, "belum tampak"),
    (THREE, "text_sure_predictions", {"confidence.n_above_90": 0}, "memiliki probabilitas di atas 0,9."),
    (
        THREE,
        "text_sure_predictions",
        {"confidence.n_above_90": 5, "confidence.confident_errors": 2, "confidence.confident_error_share": ESTIMATE},
        "seyakin itu, 2 salah",
    ),
    (THREE, "text_confidence", {}, "Galat kalibrasi (ECE) adalah"),
    (THREE, "text_temperature", {"temperature.side": "below", "temperature.softens": True}, "di atas 1: keyakinan dikurangi"),
    (THREE, "text_temperature", {"temperature.side": "below"}, "jelas dari nol"),
    (THREE, "text_temperature", {"temperature.side": "above"}, "justru memburuk"),
    (THREE, "text_temperature", {"temperature.side": "across", "temperature.softens": False}, "keyakinan tidak dikurangi"),
    (THREE, "text_temperature", {"temperature.side": "across"}, "belum terbedakan dari nol"),
    (THREE, "fig_salah_yakin_caption", {"confident_errors.n_flipped": None}, "(epoch terakhir)."),
    (THREE, "fig_salah_yakin_caption", {"confident_errors.n_flipped": 1}, "(epoch terakhir). Baris terbawah"),
    (THREE, "text_confident_errors", {"confident_errors.n": 0}, "Tidak ada prediksi salah"),
    (THREE, "text_confident_errors", {"confident_errors.n": 4, "confident_errors.n_flipped": None}, "Ada 4 prediksi salah"),
    (THREE, "text_confident_errors", {"confident_errors.n": 4, "confident_errors.n_flipped": 3}, "di atas 0,9, 3 adalah citra"),
    (THREE, "text_attribution", {"attribution.regions": None}, "hanya dapat dilihat"),
    (THREE, "text_attribution", {"attribution.regions": {"heart": {"side": "above"}}}, "memperhatikan jantung lebih"),
    (THREE, "text_attribution", {"attribution.regions": {"heart": {"side": "below"}}}, "memperhatikan jantung kurang"),
    (THREE, "text_attribution", {"attribution.regions": {"heart": {"side": "across"}}}, "pada jantung tidak terbedakan"),
    (THREE, "text_tube", {"tube": None}, "tidak dapat diukur"),
    (THREE, "text_tube", {"tube": [{"side": "above"}]}, "menjadi jalan pintas, seperti"),
    (THREE, "text_tube", {"tube": [{"side": "across"}]}, "tidak terbukti"),
    (THREE, "text_subgroups", {"subgroups": None}, "tidak dapat diukur"),
    (THREE, "text_subgroups", {"subgroups_apart": []}, "Tidak ada dua kelompok"),
    (THREE, "text_subgroups", {"subgroups_apart": [{"worst": 1, "best": 0}]}, "lebih sering salah daripada"),
    (THREE, "tbl_klaim", {}, "| *Loss* validasi berakhir pada 0,3 |"),
    (THREE, "tbl_klaim", {}, "| Akurasi latih bermula dari 75% |"),
    (THREE, "tbl_klaim", {}, "| Kesenjangan akhir sekitar 10 poin persen |"),
    (
        THREE,
        "tbl_klaim",
        {"claims.11": {"id": "transfer", "kind": "transfer", **ESTIMATE, "verdict": "didukung"}},
        "(IK 95% 7,1–17,5) dari bobot acak",
    ),
    (
        THREE,
        "tbl_klaim",
        {"claims.12": {"id": "grey_adaptation", "kind": "features", **ESTIMATE, "majority": 0.6, "verdict": "didukung"}},
        "tanpa pelatihan 12,3% (IK 95% 7,1–17,5); tebakan mayoritas 60,0%",
    ),
    (FOUR, "text_shortcut", {f"shortcut.{i}.side": "across" for i in range(4)}, "tidak terlihat jawaban yang berubah"),
    (FOUR, "text_shortcut", {"shortcut.0.side": "below", "shortcut.0.difference": ESTIMATE}, "+12,3 poin persen (IK"),
    (FOUR, "text_combination", {"summary.combination": None}, "tidak ada gabungan yang diuji"),
    (
        FOUR,
        "text_remedies",
        {"summary": {"n": 9, "verdicts": [{"verdict": "lebih baik", "n": 9, "titles": None}]}},
        "Dari 9 percobaan: 9 lebih baik daripada pembanding.",
    ),
    (
        FOUR,
        "text_remedies",
        {"summary": {"n": 2, "verdicts": [{"verdict": v, "n": 1, "titles": [v[6:]]} for v in ("lebih buruk", SAME)]}},
        "1 lebih buruk daripada pembanding (buruk); 1 tidak terbedakan dari pembanding dengan data sebanyak ini (terbedakan).",
    ),
    ("laporan", "title", {"training.provenance.data.collection": "ChestMNIST"}, "Transfer Learning pada Foto Toraks"),
    ("laporan", "title", {"training.provenance.data.collection": "OrganAMNIST"}, "pada Citra OrganAMNIST"),
    ("laporan", "facts", {"training.provenance.seeds": [3]}, "- Seed | 3"),
    ("laporan", "facts", {"training.provenance.seeds": [3, 4, 5]}, "- Seed | 3–5"),
    ("laporan", "abstract", {"training.provenance.data.kind": "phantom"}, "Citra itu buatan"),
    ("laporan", "abstract", {"training.provenance.weights.kind": "imagenet"}, "dilatih dari bobot ImageNet"),
    ("laporan", "text_conclusion", {"overfitting.final_gap": {**ESTIMATE, "side": "above"}}, "yang terukur: kesenjangan"),
    ("laporan", "text_conclusion", {"overfitting.final_gap": {**ESTIMATE, "side": "across"}}, "tidak dapat dipastikan"),
    ("laporan", "text_conclusion", {"remedies.summary.best_is_better": True}, "terbukti paling membantu"),
    ("laporan", "text_conclusion", {"remedies.summary.best_is_better": False}, "Tidak satu pun perbaikan terbukti"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "macro", "changes", "words"), WORDS, ids=[f"{w[0][:2]}-{w[1]}-{i}" for i, w in enumerate(WORDS)]
)
def test_the_words_follow_the_results(say, name, macro, changes, words):
    assert words in say(name, macro, changes)


def test_the_abstract_of_patients_does_not_call_them_drawn(say):
    assert "buatan" not in say("laporan", "abstract", {"training.provenance.data.kind": "chestmnist"})


def test_the_combination_is_told_from_its_row(say, real):
    row = copy.deepcopy(real[FOUR]["variants"][1]) | {"parts": ["Dropout 0,5", "Jadwal kosinus"], "verdict": "lebih baik"}
    row["difference"]["acc"] = {**ESTIMATE, "p": 0.01}
    text = say(FOUR, "text_combination", {"variants.1": row, "summary.combination": 1})
    assert (
        "gabungan Dropout 0,5 dan Jadwal kosinus" in text
        and "+12,3 poin persen dari pembanding (IK 95% 7,1–17,5; lebih baik)" in text
    )


@pytest.mark.parametrize("name", [*FILES, "laporan"])
def test_every_macro_can_be_said_of_the_smoke_report(say, name):
    """Nothing is left in a template that no results can fill."""
    parsed = show._environment().parse((show.TEXTS / f"{name}.md.j2").read_text(encoding="utf-8"))
    for macro in parsed.find_all(nodes.Macro):
        if not macro.name.startswith("_"):
            assert say(name, macro.name), macro.name
