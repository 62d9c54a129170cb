"""Every branch of every sentence: results on either side of a verdict, and the words that follow (notebooks/text)."""

import ast
import copy
import json
import re
from pathlib import Path

import pytest
from jinja2 import nodes

from cxr_helpers import reference, remedies, show
from cxr_helpers.engine import files
from tests.conftest import ROOT

FILES = (
    "01_adaptasi_bobot",
    "02_pelatihan",
    "03_analisis_overfitting",
    "04_perbaikan",
    "05_percobaan",
)
PARTS = dict(
    zip(("adaptation", "training", "overfitting", "remedies", "experiments"), FILES, strict=True)
)
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
            file, *path, last = (
                [name, *key.split(".")]
                if name != "laporan"
                else [PARTS[key.split(".")[0]], *key.split(".")[1:]]
            )
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


ONE, TWO, THREE, FOUR, FIVE = FILES
PATIENTS = {"train": 1193, "val": 164, "test": 360}
STRATEGY = {"reduce": "sum", "resize": "area", "scale": "none", "correlation": 0.9}
STARTS = {"better": [], "worse": [], "gabor": False, "counts_seeds": True}
START = {"kind": "random", "difference": None}
BETTER = {
    "value": 0.031,
    "ci95": [0.01, 0.052],
    "p": 0.01,
    "p_adjusted": 0.02,
    "verdict": "lebih baik",
}
BY_HOLM = BETTER | {
    "p": 0.047,
    "p_adjusted": 0.094,
    "verdict": "belum dapat diputuskan",
    "by_holm": True,
}
LESS = {"value": -0.05, "ci95": [-0.09, -0.01], "p": 0.2, "p_adjusted": 0.2, "verdict": "setara"}
UNDECIDED = BETTER | {"verdict": "belum dapat diputuskan"}
ROW = {
    "title": "Baris A",
    "recommendation": "weight_decay",
    "seeds": [0, 1, 2],
    "test": {"auc": {"value": 0.9}},
    "gap": {"value": 0.12},
    "predicts": BETTER,
    "overfits": LESS,
}
ONE_SEED = ROW | {"seeds": [0], "predicts": UNDECIDED | {"p": None}}
PLACED = {
    "row": 1,
    "seeds": 5,
    "auc": {"value": 0.9, "lowest": 0.8, "highest": 0.85, "where": "above"},
    "gap": {"value": 0.1, "lowest": 0.05, "highest": 0.12, "where": "within"},
    "shown": "above",
    "verdict": "setara",
    "alone": None,
}
ALONE = PLACED | {"alone": "misleads"}
NOWHERE = PLACED | {
    key: {"value": 0.9, "lowest": None, "highest": None, "where": None} for key in ("auc", "gap")
}
BELOW_ZERO = {"value": -0.05, "ci95": [-0.09, -0.01]}
SURE = {"title": "Baris A", "test": dict.fromkeys(("acc", "acc_chosen", "brier"), ESTIMATE)}
SURE["test"] |= {"majority": 0.6, "overconfidence": BELOW_ZERO}
ENSEMBLE = {"seeds": [0, 1, 2], "test": {"auc": ESTIMATE}, "difference": BETTER}
GUESS = {
    **ESTIMATE,
    "measure": "predicts",
    "direction": "above",
    "size": 0.01,
    "agrees": "ya",
    "within": False,
}
SMALLER = GUESS | {"direction": "below", "measure": "overfits"}
KNOWN = {"n": 10, "sd": 0.012, "range": 0.04}
COARSE = {
    "provenance.precision": "bfloat16",
    "reference.precision": "float32",
    "spread": KNOWN,
    "repeated": [PLACED],
}
SHOWN = {
    "name": "baseline",
    "margin": 0.02,
    "shown": True,
    "value": -0.0025,
    "ci90": [-0.0122, 0.0071],
}
DETECTABLE = {"seeds": 5, "images": 682, "patients": 360, "difference": 0.031}
SPREAD = {"mean": 0.85, "sd": 0.05, "lowest": 0.8, "highest": 0.9}
FOLDS = {
    "n": 5,
    "val_acc": SPREAD,
    "val_auc": SPREAD,
    "ensemble": {"auc": ESTIMATE},
    "single": {"auc": ESTIMATE},
}


def counted(verdict: str) -> dict:
    """A summary of one row with this verdict under both questions."""
    group = [{"verdict": verdict, "n": 1, "titles": ["A"]}]
    return {
        "n": 1,
        "predicts": group,
        "overfits": group,
        "smaller": [],
        "combination": None,
        "shown": 1,
    }


OTHER_DATA = {
    "remedies.summary": counted("lebih baik"),
    "training.provenance.data.kind": "chestmnist",
}
ROWS_COUNTED = counted("") | {
    "n": 9,
    "predicts": [{"verdict": "belum dapat diputuskan", "n": 9, "titles": None}],
    "overfits": [
        {"verdict": "lebih baik", "n": 1, "titles": ["A"]},
        {"verdict": "setara", "n": 8, "titles": None},
    ],
}
TYPED = counted("lebih baik") | {"predicts": [{"verdict": "lebih baik", "n": 1, "titles": ["A*B"]}]}
PENDING, NOT_HERE = "belum dapat diputuskan", "tidak dapat diuji di sini"
EVERYTHING = ["data", "weights", "recipe", "images", "pixels"]
NUMBER = {
    **ESTIMATE,
    "id": "train_loss_first",
    "kind": "loss",
    "claimed": 0.65,
    "tolerance": 0.05,
    "reasons": [],
}
CHANGE = {
    **ESTIMATE,
    "id": "val_loss_falls_to_end",
    "first": 0.2,
    "last": 0.323,
    "from_epoch": 5,
    "to_epoch": 10,
}
CHANGE |= {"verdict": "dibantah", "reasons": []}
LOSS_CHANGE = "paruh kedua pelatihan | epoch 5 ke 10: 0,200 ke 0,323, selisih 0,123 (IK 95% 0,071–0,175) | dibantah |"
ACC_CHANGE = "Akurasi validasi naik | epoch 5 ke 10: 20,0% ke 32,3%, selisih +12,3 poin persen (IK 95% 7,1–17,5) | dibantah |"
COUNTED = {"n": 19, "didukung": 6, "dibantah": 1, PENDING: 3, NOT_HERE: 9}
SAID = "Dari 19 klaim laporan acuan, 6 didukung, 1 dibantah, 3 belum dapat diputuskan, dan 9 tidak dapat diuji di sini."
PEOPLE = {
    "n": 50,
    "patients": 9,
    "majority": 0.6,
    "shared": 0.62,
    "recognised": 0.02,
    "random": ESTIMATE,
    "grouped": ESTIMATE,
}
FLATTERED, HARMED, OPEN = (
    PEOPLE | {"flattery": ESTIMATE | {"side": side}} for side in ("above", "below", "across")
)
EVERY_LABEL = {"n": 78000, "labels": 14, "left_out": 2, "epochs": 3, "row": 1}
TUBE = {"pneumothorax": True, "side": "across"}
TUBES = TUBE | {
    "n_with": 12,
    "patients_with": 9,
    "n_without": 30,
    "patients_without": 22,
    "difference": ESTIMATE,
}
TUBES |= {"with": ESTIMATE, "without": ESTIMATE}
UNKNOWN = {"patients_with": None, "patients_without": None}
REGION = {"n": 31, "patients": 28, "share": 0.2, "area": 0.1, "ratio": ESTIMATE, "side": "across"}
BY_CHANCE = {"ece_measured": 0.081, "ece_chance": {"value": 0.05, "range95": [0.03, 0.074]}}
GROUP = {
    "divides": "Sisi pneumotoraks",
    "group": "kiri",
    "n": 9,
    "patients": None,
    "acc": ESTIMATE,
    "side": "across",
}
GROUP |= {"difference": ESTIMATE, "p_adjusted": 0.25}
LAST = -1  # of the learning curve
SURELY_WRONG = {"n_wrong": 2, "n_confident": 9, "patients": 8, "seed": 4}
WHOLE, PART = (
    {"source": "reference", "reference.trainings": n, "reference.planned": 117} for n in (117, 116)
)
WORDS = [
    (ONE, "text_changes", {"pooling.removed": True}, "ditiadakan"),
    (ONE, "text_changes", {"pooling.removed": False}, "dipertahankan"),
    (ONE, "text_architecture", {"pooling.removed": True, "pooling.work": 3.7}, "menjadi 3,7 kali"),
    (ONE, "text_architecture", {"pooling.removed": False}, "sama dengan pada ResNet-18 aslinya"),
    (ONE, "tbl_strategi_caption", {"kernels.same_size": False}, "diperbesar dua kali"),
    (ONE, "text_strategies", {"provenance.weights.kind": "imagenet"}, "yang terbaik dari cara yang dicoba"),
    (ONE, "text_strategies", {"strategies": [STRATEGY], "best_strategy": STRATEGY}, "tidak ada cara lain yang dicoba yang"),
    (ONE, "text_strategies", {"provenance.weights.kind": "gabor"}, "diperlukan bobot ImageNet"),
    (ONE, "text_drift", {"batch_norm.change": {**ESTIMATE, "side": "above"}}, "+12,3 poin persen (IK 95% 7,1–17,5): seluruh"),
    (ONE, "text_drift", {"batch_norm.change.side": "below"}, "justru merugikan"),
    (ONE, "text_drift", {"batch_norm.change.side": "across"}, "belum dapat dipastikan"),
    (ONE, "text_starts", {"starts_summary": {**STARTS, "better": ["A"]}}, "di atas nol: A."),
    (ONE, "text_starts", {"starts_summary": {**STARTS, "worse": ["B"]}}, "di bawah nol: B."),
    (ONE, "text_starts", {"starts_summary": {**STARTS, "gabor": True}}, "bank Gabor"),
    (ONE, "text_starts", {"starts_summary": STARTS}, "interval setiap selisih memuat nol."),
    (ONE, "text_starts", {"starts_summary": {**STARTS, "counts_seeds": False}}, "hanya memperhitungkan ragam antarcitra"),
    (TWO, "text_filter", {"provenance.data.single_label_filter": True}, "hanya citra berlabel tunggal"),
    (TWO, "text_filter", {"provenance.data.single_label_filter": False}, "tepat satu label"),
    (TWO, "text_overlap", {"provenance.data.shared": []}, "Tidak ada citra"),
    (TWO, "text_overlap", {"provenance.data.shared": [{"splits": ["train", "test"], "n": 3}]}, "3 citra latih dan uji"),
    (TWO, "text_patients", {"provenance.data.patients": PATIENTS}, "menarik pasien beserta semua citranya"),
    (TWO, "text_patients", {}, "setiap pasien fantom mengikuti ChestX-ray14"),
    (TWO, "text_patients", {"provenance.data.patients": None}, "interval itu terlalu sempit"),
    (TWO, "tbl_data", {"provenance.data.patients": PATIENTS}, " dari 1.193 pasien | "),
    (TWO, "tbl_uji_caption", {"provenance.data.patients": PATIENTS}, "citra uji dari 360 pasien; tidak satu pun"),
    (TWO, "tbl_uji_caption", {"calibration.best": BY_CHANCE}, "yang terukur adalah 0,081 (epoch terpilih) dan"),
    (TWO, "tbl_uji_caption", {"calibration.best": BY_CHANCE}, "akan menunjukkan 0,050 (rentang 95% 0,030–0,074) dan"),
    (TWO, "tbl_uji_caption", {"calibration.last": BY_CHANCE}, "dan 0,050 (rentang 95% 0,030–0,074) semata-mata karena"),
    (TWO, "fig_riwayat_caption", {"provenance.data.patients": PATIENTS}, "citra validasi dari 164 pasien. Angka latih"),
    (THREE, "fig_keyakinan_caption", {"provenance.data.patients": PATIENTS}, "citra validasi dari 164 pasien (epoch"),
    (THREE, "tbl_klaim_caption", {"provenance.data.patients": PATIENTS}, "citra latih dari 1.193 pasien."),
    (TWO, "fig_kebingungan_caption", {"test.n": 682, "provenance.data.patients": PATIENTS}, "pada 682 citra uji dari 360 pasien"),
    (TWO, "fig_kebingungan_caption", {"test.n": 682, "provenance.data.patients": None}, "pada 682 citra uji (epoch terpilih)"),
    (ONE, "tbl_strategi_caption", {"n_images": 256, "n_patients": 201}, "pada 256 citra latih dari 201 pasien. Citra"),
    (ONE, "tbl_strategi_caption", {"n_images": 256, "n_patients": None}, "pada 256 citra latih. Citra"),
    (THREE, "fig_belajar_alt", {"learning_curve.0.patients": 77}, "citra dari 77 pasien: latih"),
    (THREE, "fig_belajar_alt", {"learning_curve.0.n": 147, "learning_curve.0.patients": None}, "147 citra: latih"),
    (
        THREE,
        "text_learning_curve",
        {"learning_curve.0.n": 147, "learning_curve.0.patients": 120, f"learning_curve.{LAST}.patients": 931},
        "Antara 147 citra latih dari 120 pasien dan ",
    ),
    (THREE, "text_learning_curve", {f"learning_curve.{LAST}.patients": 931}, " citra latih dari 931 pasien, akurasi validasi"),
    (THREE, "text_learning_curve", {"learning_curve.0.n": 147, "learning_curve.0.patients": None}, "Antara 147 citra latih dan "),
    (
        THREE,
        "fig_hafalan_caption",
        {"memorisation.n_flipped": 12, "memorisation.patients_correct": 80, "memorisation.patients_flipped": 11},
        " citra berlabel benar dari 80 pasien dan 12 citra berlabel terbalik dari 11 pasien (sengaja",
    ),
    (
        THREE,
        "fig_hafalan_caption",
        {"memorisation.n_flipped": 12, "memorisation.patients_correct": None, "memorisation.patients_flipped": None},
        " citra berlabel benar dan 12 citra berlabel terbalik (sengaja",
    ),
    (THREE, "text_confident_errors", {"confident_errors.n": 4, "confident_errors.patients": 3}, "Ada 4 citra dari 3 pasien yang"),
    (THREE, "tbl_atribusi", {"attribution.regions": {"heart": REGION}}, "| Jantung | 31 dari 28 pasien | 20,0% |"),
    (THREE, "tbl_atribusi", {"attribution.regions": {"heart": REGION | {"patients": None}}}, "| Jantung | 31 | 20,0% |"),
    (THREE, "tbl_atribusi_caption", {"attribution.n": 48, "attribution.patients": 40}, "citra validasi acak dari 40 pasien;"),
    (THREE, "tbl_atribusi_caption", {"attribution.n": 48, "attribution.patients": None}, "48 citra validasi acak; setiap"),
    (THREE, "tbl_selang", {"tube": [TUBES]}, "| dengan: 12 dari 9 pasien; tanpa: 30 dari 22 pasien | 12,3% |"),
    (THREE, "tbl_selang", {"tube": [TUBES | UNKNOWN]}, "| dengan: 12; tanpa: 30 | 12,3% |"),
    (THREE, "tbl_kelompok", {"subgroups": [GROUP | {"patients": 7}]}, "kiri | 9 dari 7 pasien | 12,3% |"),
    (THREE, "tbl_kelompok", {"subgroups": [GROUP]}, "kiri | 9 | 12,3% |"),
    (FOUR, "tbl_pengulangan_caption", {"provenance.data.patients": PATIENTS}, "citra uji dari 360 pasien"),
    (FOUR, "tbl_jalan_pintas", {"shortcut.0.patients": 55}, " dari 55 pasien | "),
    (ONE, "tbl_awal_caption", {"provenance.data.patients": PATIENTS}, "citra latih dari 1.193 pasien dan"),
    ("laporan", "facts", {"training.provenance.data.patients": PATIENTS}, " uji dari 360 pasien"),
    ("laporan", "facts", {"training.provenance.data.patients": None}, " uji\n- Seed"),
    ("laporan", "facts", {"training.provenance.data.patients": PATIENTS}, "latih dari 1.193 pasien"),
    ("laporan", "facts", {"training.run.seconds": 602.0}, "; pelatihan resep mata kuliah 10 menit 2 detik"),
    (TWO, "fig_contoh_caption", {"samples.outlines": None}, "(bawah)."),
    (TWO, "fig_contoh_caption", {"samples.outlines": {"jantung": []}}, "masker acuan"),
    (TWO, "text_intensity", {"intensity.brighter": None}, "memuat 0,5: tidak terlihat"),
    (TWO, "text_intensity", {"intensity.brighter": 1}, "Pneumotoraks cenderung lebih terang"),
    (TWO, "tbl_resep", {"config.augment": []}, "| Augmentasi | tidak ada |"),
    (TWO, "tbl_resep", {"config.augment": ["geometry", "flip"]}, "| geometry, flip |"),
    (TWO, "text_history", {"turn.turned": True, "turn.rise": {**ESTIMATE, "side": "above"}}, "(IK 95% 0,071–0,175), diukur"),
    (TWO, "text_history", {"turn.turned": True, "turn.rise.side": "above"}, "memang berbalik naik"),
    (TWO, "text_history", {"turn.turned": True, "turn.rise.side": "across"}, "belum dapat dibedakan dari kebetulan"),
    (TWO, "text_history", {"turn.turned": True, "turn.rise.side": "below"}, "itu sendiri hanya kebetulan"),
    (TWO, "text_history", {"turn.turned": True, "summary.last.val_loss": 0.75}, "epoch terakhir nilainya 0,750. Dari titik"),
    (TWO, "text_history", {"turn.turned": False, "summary.lowest.epoch": 2}, "pada epoch 2. Selama pelatihan"),
    (TWO, "text_test", {"against_majority": "above"}, "seluruh interval kepercayaan berada di atasnya"),
    (TWO, "text_test", {"against_majority": "across"}, "belum dapat dipastikan"),
    (TWO, "text_test", {"against_majority": "below"}, "lebih sering salah daripada tebakan itu"),
    (TWO, "text_leakage", {"leakage.flatters": True, "leakage.flattery": ESTIMATE}, "(IK 95% berpasangan 7,1–17,5"),
    (TWO, "text_leakage", {"leakage.flatters": False}, "kebetulan sama"),
    (THREE, "fig_kesenjangan_caption", {"provenance.seeds": [0, 1, 2]}, ", rata-rata 3 seed, dengan interval"),
    (THREE, "fig_kesenjangan_caption", {"provenance.seeds": [0]}, "(kanan), dengan interval"),
    (THREE, "text_gap", {"final_gap": {**ESTIMATE, "side": "above"}}, "12,3 poin persen (IK 95% 7,1–17,5); seluruh"),
    (THREE, "text_gap", {"final_gap": {**ESTIMATE, "side": "below"}}, "justru lebih tinggi"),
    (THREE, "text_gap", {"final_gap": {**ESTIMATE, "side": "across"}}, "belum dapat dipastikan"),
    (THREE, "text_gap_details", {"chosen_gap": {**ESTIMATE, "loss_gap": ESTIMATE}}, "+12,3 poin persen (IK 95% 7,1–17,5) dan"),
    (THREE, "text_turn", {"turn.turned": False}, "*loss* validasi belum berbalik naik"),
    (THREE, "text_turn", {"turn.turned": True, "turn.rise.side": "above", "turn.each_seed": [2, 3]}, "epoch 2 dan 3). Dari"),
    (THREE, "text_turn", {"turn.turned": True, "turn.rise.side": "across", "turn.each_seed": [2]}, "nol, jadi kenaikannya"),
    (THREE, "text_selection", {"selection.1.differs": [], "selection.2.differs": []}, "tidak berbeda bermakna dari hasil epoch"),
    (
        THREE,
        "text_selection",
        {"selection.1.differs": ["acc", "auc"], "selection.1.difference": {"acc": ESTIMATE, "auc": ESTIMATE}},
        "*loss* validasi mengubah akurasi uji sebesar +12,3 poin persen (IK 95% 7,1–17,5) "
        "dan AUC uji sebesar 0,123 (IK 95% 0,071–0,175).",
    ),
    (
        THREE,
        "text_selection",
        {"selection.2.differs": ["auc"], "selection.2.difference": {"auc": ESTIMATE}},
        "AUC validasi mengubah AUC uji sebesar 0,123 (IK 95% 0,071–0,175). Perubahan akurasinya tidak",
    ),
    (
        THREE,
        "text_selection",
        {"selection.1.differs": ["acc"], "selection.1.difference": {"acc": ESTIMATE}},
        "akurasi uji sebesar +12,3 poin persen (IK 95% 7,1–17,5). Perubahan AUC-nya tidak",
    ),
    (THREE, "tbl_pemilihan", {"selection.1.difference": {"acc": ESTIMATE, "auc": ESTIMATE}}, " | AUC | "),
    (
        THREE,
        "text_learning_curve",
        {f"learning_curve.{LAST}.from_first": {**ESTIMATE, "side": "above"}},
        "+12,3 poin persen (IK 95% 7,1–17,5): seluruh intervalnya di atas nol, jadi tambahan data memang membantu",
    ),
    (THREE, "text_learning_curve", {"learning_curve": None}, "hanya dilatih dengan preset `full`; studi acuan tidak memuatnya"),
    (
        THREE,
        "text_learning_curve",
        {"learning_curve_source": "reference", "learning_curve.0.seeds": 5},
        "dari **studi acuan**, rata-rata 5 seed: resep, fantom,",
    ),
    (THREE, "text_learning_curve", {"learning_curve_source": "own"}, "masih membantu. Antara"),
    (THREE, "fig_belajar_caption", {"learning_curve_source": "reference"}, "kesenjangan. Pelatihannya dari studi acuan, bukan"),
    (ONE, "text_starts", {"starts_summary": None}, "hanya dijalankan dengan preset `full`"),
    (ONE, "text_drift_and_starts", {"starts": None}, "*batch normalization*."),
    (ONE, "text_drift_and_starts", {}, "dan [Tabel](#tbl-awal) hasil"),
    (THREE, "text_learning_curve", {f"learning_curve.{LAST}.from_first.side": "across"}, "belum dapat dipastikan pada ukuran"),
    (THREE, "text_learning_curve", {f"learning_curve.{LAST}.from_first.side": "below"}, "tambahan data justru merugikan"),
    (THREE, "text_learning_curve", {f"learning_curve.{LAST}.from_previous.side": "above"}, "masih menanjak."),
    (THREE, "text_learning_curve", {f"learning_curve.{LAST}.from_previous.side": "across"}, "di ujung, belum dapat dipastikan"),
    (THREE, "text_learning_curve", {f"learning_curve.{LAST}.from_previous.side": "below"}, "kurva itu menurun"),
    (THREE, "text_learning_curve", {f"learning_curve.{LAST}.from_first": None}, "poin persen."),
    (THREE, "text_memorisation", {"memorisation": None}, "tidak dapat diukur di sini"),
    (THREE, "text_memorisation", {"memorisation.follows": True}, "hafalan menyusul"),
    (
        THREE,
        "text_memorisation",
        {"memorisation.follows": False, "memorisation.rise": {**ESTIMATE, "side": "above"}},
        "tidak terlihat di sini",
    ),
    (THREE, "text_memorisation", {"memorisation.follows": False, "memorisation.rise.side": "below"}, "justru turun"),
    (THREE, "text_memorisation", {"memorisation.follows": False, "memorisation.rise.side": "across"}, "belum tampak"),
    (THREE, "text_patient_folds", {"patient_folds": None}, "tidak dapat diukur di sini"),
    (THREE, "text_patient_folds", {"patient_folds": FLATTERED}, "pada 2,0% citra, citra latih yang paling mirip"),
    (THREE, "text_patient_folds", {"patient_folds": FLATTERED}, "+12,3 poin persen (IK 95% 7,1–17,5): lipatan acak memberi"),
    (THREE, "text_patient_folds", {"patient_folds": HARMED}, "justru lebih rendah"),
    (THREE, "text_patient_folds", {"patient_folds": OPEN}, "belum dapat dipastikan"),
    (THREE, "text_sure_predictions", {"confidence.n_above_90": 0}, "memiliki probabilitas di atas 0,9."),
    (
        THREE,
        "text_sure_predictions",
        {"confidence.n_above_90": 5, "confidence.confident_errors": 2, "confidence.confident_error_share": ESTIMATE},
        "seyakin itu, 2 salah",
    ),
    (THREE, "text_confidence", {"confidence.beyond_chance": True, "confidence.ece": ESTIMATE}, "galatnya 0,123 (IK 95%"),
    (THREE, "text_confidence", {"confidence.beyond_chance": False}, "tidak terlihat bahwa keyakinan jaringan meleset"),
    (THREE, "text_temperature", {"temperature.side": "below", "temperature.softens": True}, "di atas 1: keyakinan dikurangi"),
    (THREE, "text_temperature", {"temperature.side": "below"}, "berbeda bermakna dari nol"),
    (THREE, "text_temperature", {"temperature.side": "above"}, "justru memburuk"),
    (THREE, "text_temperature", {"temperature.side": "across", "temperature.softens": False}, "keyakinan tidak dikurangi"),
    (THREE, "text_temperature", {"temperature.side": "across"}, "belum berbeda bermakna dari nol"),
    (
        THREE,
        "text_temperature",
        {f"temperature.{when}.{key}": value for when in ("before", "after") for key, value in BY_CHANCE.items()},
        "adalah 0,081 sebelum dan 0,081 sesudah penskalaan. Semata-mata karena kebetulan, jaringan yang terkalibrasi sempurna "
        "akan menunjukkan 0,050 (rentang 95% 0,030–0,074) dan 0,050 (rentang 95% 0,030–0,074).",
    ),
    (THREE, "fig_salah_yakin_caption", {"confident_errors.n_flipped": None}, "(epoch terakhir)."),
    (THREE, "fig_salah_yakin_caption", {"confident_errors.n_flipped": 1}, "(epoch terakhir). Baris terbawah"),
    (THREE, "text_confident_errors", {"confident_errors.n": 0}, "Tidak ada prediksi salah"),
    (THREE, "text_confident_errors", {"confident_errors.n": 4, "confident_errors.n_flipped": 0}, "0,9. Tidak satu pun labelnya"),
    (THREE, "text_confident_errors", {"confident_errors.n": 4, "confident_errors.n_flipped": None}, "0,9. Sumber data ini"),
    (THREE, "text_confident_errors", {"confident_errors.n": 4, "confident_errors.n_flipped": 3}, "0,9. Label 3 di antaranya"),
    (THREE, "text_confident_errors", {"confident_errors.n": 4, "confident_errors.patients": None}, "Ada 4 citra yang diprediksi"),
    (THREE, "text_attribution", {"attribution.regions": None}, "hanya dapat dilihat"),
    (THREE, "text_attribution", {"attribution.regions": {"heart": {"side": "above"}}}, "atribusi pada jantung melebihi"),
    (THREE, "text_attribution", {"attribution.regions": {"heart": {"side": "below"}}}, "atribusi pada jantung kurang"),
    (THREE, "text_attribution", {"attribution.regions": {"heart": {"side": "across"}}}, "pada jantung tidak berbeda bermakna"),
    (THREE, "text_tube", {"tube": None}, "tidak dapat diukur"),
    (THREE, "text_tube", {"tube": [TUBE, {"pneumothorax": False, "side": "above"}]}, "Pada anatomi tanpa pneumotoraks, citra"),
    (THREE, "text_tube", {"tube": [{**TUBE, "side": "above"}]}, "menjadi jalan pintas, seperti"),
    (THREE, "text_tube", {"tube": [{**TUBE, "side": "below"}]}, "dengan pneumotoraks, citra dengan selang dada justru lebih"),
    (THREE, "text_tube", {"tube": [TUBE]}, "tidak terbukti. Dari data sebanyak ini tidak dapat"),
    (THREE, "text_subgroups", {"subgroups": None}, "tidak dapat diukur"),
    (THREE, "text_subgroups", {"subgroups": [GROUP]}, "Tidak satu pun kelompok"),
    (
        THREE,
        "text_subgroups",
        {"subgroups": [GROUP, {**GROUP, "side": "below"}]},
        "Terbukti lebih sering salah daripada citra lain dalam pengelompokan yang sama, juga setelah koreksi Holm: "
        "sisi pneumotoraks kiri, +12,3 poin persen (IK 95% 7,1–17,5). Akurasi keseluruhan",
    ),
    (THREE, "text_subgroups", {"subgroups": [{**GROUP, "side": "above"}]}, "Terbukti lebih jarang salah"),
    (THREE, "tbl_kelompok", {"subgroups": [GROUP]}, "| 12,3% | 7,1–17,5 | +12,3 | 7,1–17,5 | 0,250 |"),
    (THREE, "tbl_kelompok", {"subgroups": [{**GROUP, "difference": None, "p_adjusted": None}]}, "| 7,1–17,5 | – | – | – |"),
    (THREE, "tbl_klaim", {}, "| *Loss* validasi pada epoch terakhir | 0,3 (±0,05) | "),
    (THREE, "tbl_klaim", {}, "| Akurasi latih pada epoch pertama | 75% (±2,5 poin persen) | "),
    (THREE, "tbl_klaim", {}, "| Kesenjangan akurasi akhir | 10 poin persen (±3 poin persen) | "),
    (THREE, "tbl_klaim", {"claims.different": ["data"]}, "| Pembanding yang terukur | Putusan |"),
    (THREE, "tbl_klaim", {"claims.different": []}, "| Terukur di sini | Putusan |"),
    (THREE, "tbl_klaim", {"claims.numbers.0": NUMBER | {"verdict": "didukung"}}, "0,123 (IK 95% 0,071–0,175) | didukung |"),
    (THREE, "tbl_klaim", {"claims.numbers.0": NUMBER | {"verdict": "dibantah"}}, " | dibantah |"),
    (THREE, "tbl_klaim", {"claims.numbers.0": NUMBER | {"verdict": PENDING}}, " | belum dapat diputuskan |"),
    (
        THREE,
        "tbl_klaim",
        {"claims.numbers.0": NUMBER | {"verdict": PENDING, "reasons": ["one_seed"]}},
        " | belum dapat diputuskan (satu seed) |",
    ),
    (
        THREE,
        "tbl_klaim",
        {"claims.numbers.0": NUMBER | {"verdict": PENDING, "reasons": ["two_seeds"]}},
        " | belum dapat diputuskan (dua seed) |",
    ),
    (
        THREE,
        "tbl_klaim",
        {"claims.numbers.0": NUMBER | {"verdict": NOT_HERE, "reasons": EVERYTHING}},
        "(data, bobot awal, resep atau banyaknya epoch, banyaknya citra, dan ukuran citra) |",
    ),
    (THREE, "tbl_klaim_caption", {"claims.different": ["data"]}, "hanya pembanding, bukan ujian"),
    (THREE, "tbl_klaim_caption", {"claims.different": []}, "Putusan dihitung dari interval dan toleransi."),
    (THREE, "text_claimed_numbers", {"claims.different": ["data", "recipe"]}, "acuan: data dan resep atau banyaknya epoch."),
    (THREE, "text_claimed_numbers", {"claims.different": [], "claims.of_recipe": False}, "sedikitnya diperlukan tiga seed"),
    (THREE, "text_claimed_numbers", {"claims.different": [], "claims.of_recipe": True}, "sehingga angkanya dapat diuji"),
    (THREE, "tbl_bentuk", {"claims.shapes.2": CHANGE | {"kind": "loss_change"}}, LOSS_CHANGE),
    (THREE, "tbl_bentuk", {"claims.shapes.4": CHANGE | {"id": "val_acc_rises", "kind": "acc_change"}}, ACC_CHANGE),
    (
        THREE,
        "tbl_bentuk",
        {"claims.shapes.5": {**ESTIMATE, "id": "train_exceeds_val", "kind": "gap", "verdict": "didukung", "reasons": []}},
        "| Akurasi latih melampaui akurasi validasi | +12,3 poin persen (IK 95% 7,1–17,5) | didukung |",
    ),
    (
        THREE,
        "tbl_bentuk",
        {"claims.shapes.6": {**ESTIMATE, "id": "mostly_confident", "kind": "share", "verdict": "dibantah", "reasons": []}},
        "di atas 0,9 | 12,3% (IK 95% 7,1–17,5) | dibantah |",
    ),
    (
        THREE,
        "tbl_bentuk",
        {f"claims.shapes.7.{key}": value for key, value in SURELY_WRONG.items()},
        "| 2 dari 9 prediksi seyakin itu dari 8 pasien, seed 4 |",
    ),
    (
        THREE,
        "tbl_bentuk",
        {f"claims.shapes.7.{key}": value for key, value in SURELY_WRONG.items()} | {"claims.shapes.7.patients": None},
        "| 2 dari 9 prediksi seyakin itu, seed 4 |",
    ),
    (THREE, "tbl_bentuk", {}, f" dan citra medis yang sesungguhnya | {NOT_HERE} (citra buatan dan bobot awal) |"),
    (THREE, "tbl_bentuk", {}, f"| Adaptasi ke skala keabuan berhasil | perlu bobot ImageNet | {NOT_HERE} (bobot awal) |"),
    (
        THREE,
        "tbl_bentuk",
        {"claims.shapes.8": {"id": "transfer", "kind": "untrained", "verdict": PENDING, "reasons": []}},
        "citra medis | jaringan dari bobot acak hanya dilatih dengan preset `full` | belum dapat diputuskan |",
    ),
    (
        THREE,
        "tbl_bentuk",
        {
            "claims.shapes.8": ESTIMATE
            | {"id": "transfer", "kind": "transfer", "acc": ESTIMATE, "verdict": PENDING, "reasons": ["one_seed"]}
        },
        "acak 0,123 (IK 95% 0,071–0,175); selisih akurasi +12,3 poin persen (IK 95% 7,1–17,5) | belum dapat diputuskan (satu",
    ),
    (
        THREE,
        "tbl_bentuk",
        {
            "claims.shapes.9": ESTIMATE
            | {"id": "grey_adaptation", "kind": "features", "majority": 0.6, "verdict": "dibantah", "reasons": []}
        },
        "tanpa pelatihan 12,3% (IK 95% 7,1–17,5); tebakan mayoritas 60,0% | dibantah |",
    ),
    (THREE, "tbl_bentuk_caption", {"claims.of_recipe": False}, "acuan, dinilai pada pelatihan ini saja: seed lain"),
    (
        THREE,
        "tbl_bentuk_caption",
        {"claims.of_recipe": True, "provenance.seeds": [0, 1, 2]},
        "acuan, rata-rata 3 seed; intervalnya memperhitungkan ragam antarcitra dan antarseed. Perubahan",
    ),
    (THREE, "tbl_acuan", {}, "| *Loss* validasi pada epoch terakhir | 0,3 | 0,53 | tidak |"),
    (THREE, "tbl_acuan", {}, "| *Loss* latih pada epoch terakhir | 0,05 | 0,05 | ya |"),
    (THREE, "tbl_acuan", {}, "| Kesenjangan akurasi akhir | 10 poin persen | 14 poin persen | tidak |"),
    (THREE, "text_course", {}, "Pada 5 dari 9 angka, teks laporan itu tidak sesuai"),
    (THREE, "text_course", {}, "terendah 0,36 pada epoch 3, lalu naik dan berakhir pada 0,53, sedangkan teksnya menyebut 0,3;"),
    (THREE, "text_course", {}, "tertinggi 85,5% pada epoch 4. Selain itu, data yang disebutnya validasi adalah split uji"),
    (THREE, "text_claims", {"claims_summary": COUNTED, "claims.of_recipe": False}, SAID + " Putusan atas klaim kualitatif"),
    (THREE, "text_claims", {"claims.of_recipe": False}, "berlaku bagi pelatihan ini pada data ini."),
    (THREE, "text_claims", {"claims.of_recipe": True}, "berlaku bagi resep ini pada data ini."),
    ("laporan", "text_summary", {"overfitting.claims_summary": COUNTED}, SAID),
    ("laporan", "text_conclusion", {"overfitting.claims_summary": COUNTED}, SAID),
    (FOUR, "text_shortcut", {f"shortcut.{i}.side": "across" for i in range(4)}, "tidak terlihat jawaban yang berubah"),
    (FOUR, "text_shortcut", {"shortcut.0.side": "below", "shortcut.0.difference": ESTIMATE}, "+12,3 poin persen (IK"),
    (FOUR, "text_source", {"source": "own"}, "dilatih pada pembuatan laporan ini"),
    (FOUR, "text_source", {"source": "reference", "reference.trainings": 9, "reference.planned": 9}, "presisi float32"),
    (FOUR, "text_source", {"source": "reference", "reference.trainings": 8, "reference.planned": 9}, "8 dari 9 pel"),
    (FOUR, "text_source", {"provenance.data.kind": "chestmnist"}, "**tidak berlaku untuk"),
    (FOUR, "text_detectable", {"detectable": [DETECTABLE]}, "5 seed setiap baris pada 682 citra uji dari 360 pasien."),
    (FOUR, "text_detectable", {"detectable": [DETECTABLE, DETECTABLE | {"seeds": 10, "difference": 0.02}]},
     "0,031 dengan 5 seed dan 0,020 dengan 10 seed setiap baris pada 682"),
    (FOUR, "text_detectable", {"detectable": [DETECTABLE | {"patients": None}]}, "pada 682 citra uji."),
    (FOUR, "tbl_perbaikan", {"shown.1": ROW}, "| 2 | lebih baik | +0,031 (0,010–0,052) | setara | −5,0 (−9,0 hingga −1,0) | "),
    (FOUR, "tbl_perbaikan", {"shown.1": ONE_SEED}, "| belum dapat diputuskan (satu seed) |"),
    (FOUR, "tbl_perbaikan", {"shown.1": ONE_SEED | {"seeds": [0, 1]}}, "| belum dapat diputuskan (dua seed) |"),
    (FOUR, "tbl_perbaikan", {"shown.1": ROW | {"predicts": UNDECIDED}}, "| belum dapat diputuskan |"),
    (FOUR, "tbl_perbaikan_caption", {"source": "reference"}, "Studi acuan: setiap"),
    (FOUR, "tbl_perbaikan_caption", {"source": "own"}, "Hasil pengukuran: setiap"),
    (FOUR, "text_remedies", {"source": "own"}, "Pengukuran ini menilai"),
    (FOUR, "text_remedies", {"source": "reference"}, "Studi acuan menilai"),
    (FOUR, "text_remedies", {"source": "reference", "provenance.data.kind": "chestmnist"}, "latar belakang dan tidak berlaku"),
    (FOUR, "text_background", {"background": ROWS_COUNTED}, "studi acuan pada fantom menilai 9 baris"),
    (FOUR, "text_remedies", {"summary": ROWS_COUNTED}, "Daya prediksi: 9 belum dapat diputuskan."),
    (FOUR, "text_remedies", {"summary": ROWS_COUNTED}, "*Overfitting*: 1 terbukti mengurangi *overfitting* (“A”); 8 setara."),
    *[(FOUR, "text_remedies", {"summary": counted(v)}, f"Daya prediksi: 1 {words} (“A”).") for v, words in (
        ("lebih baik", "terbukti memprediksi lebih baik"),
        ("lebih buruk", "terbukti memprediksi lebih buruk"),
        ("menebak mayoritas", "hanya menebak mayoritas"),
    )],
    (FOUR, "text_remedies", {"summary": counted("lebih buruk")}, "*Overfitting*: 1 terbukti menambahnya (“A”)."),
    (FOUR, "text_sizes", {"summary.smaller": [1], "shown.1": ROW | {"trained_parameters": 12345}}, "sedikit: “Baris A” (12.345)"),
    (FOUR, "tbl_pendamping", {"shown": [SURE]}, "| 0,123 (0,071–0,175) | −5,0 (−9,0 hingga −1,0) |"),
    (FOUR, "tbl_pendamping_caption", {"shown": [SURE]}, "Keyakinan berlebih: probabilitas"),
    (FOUR, "tbl_pendamping_caption", {}, "AUC terhadap anatomi dihitung"),
    (FOUR, "text_combination", {"summary.combination": None, "source": "own"}, "perbaikan yang *loss*-nya lebih rendah"),
    (FOUR, "text_combination", {"summary.combination": None} | WHOLE, "perbaikan yang *loss*-nya lebih rendah"),
    (FOUR, "text_combination", {"summary.combination": None} | PART, "Gabungan baru dipilih setelah studi acuan lengkap"),
    (
        FOUR,
        "text_combination",
        {"shown.1": ROW | {"parts": ["Dropout 0,5", "Jadwal kosinus"]}, "summary.combination": 1, "source": "own"},
        "Berdasarkan data validasi, dipilih gabungan “Dropout 0,5” dan “Jadwal kosinus”. Pada data uji, AUC gabungan itu "
        "berbeda +0,031 dari pembanding (IK 95% 0,010–0,052; daya prediksi: lebih baik), dan kesenjangannya berbeda "
        "−5,0 poin persen (IK 95% −9,0 hingga −1,0; *overfitting*: setara).",
    ),
    (FOUR, "text_combination", {"shown.1": ROW | {"parts": ["A", "B"]}, "summary.combination": 1, "source": "reference"},
     "Berdasarkan data validasi studi acuan, dipilih gabungan “A” dan “B”. Pada data ujinya, AUC gabungan itu"),
    (FOUR, "text_ensemble", {"ensemble": ENSEMBLE}, "+0,031"),
    (FOUR, "text_ensemble", {"ensemble": ENSEMBLE, "source": "reference"}, "studi acuan mengukur pula ansambel"),
    (FOUR, "text_pretraining", {"pretraining": EVERY_LABEL, "shown.1": ROW}, "3 epoch dengan 78.000 citra latih berkas"),
    (FOUR, "text_pretraining", {"pretraining": EVERY_LABEL, "shown.1": ROW}, "0,010–0,052; daya prediksi: lebih baik), dan"),
    (FOUR, "text_pretraining", {"pretraining": EVERY_LABEL, "shown.1": ONE_SEED}, "prediksi: belum dapat diputuskan (satu seed)"),
    (FOUR, "text_cross_validation", {"cross_validation": None}, "lipatan-lipatannya belum dihitung"),
    (FOUR, "text_cross_validation", {"cross_validation": FOLDS}, "0,800 hingga 0,900 (simpangan"),
    (FOUR, "text_cross_validation", {"cross_validation": FOLDS, "folds_source": "own"}, "Lipatannya dilatih pada pembuatan"),
    (FOUR, "text_cross_validation", {"cross_validation": FOLDS, "folds_source": "reference"}, "Lipatannya dari studi acuan."),
    (FOUR, "text_repetition", {"repeated": [], "source": "reference"}, "data Anda bukan fantom"),
    (FOUR, "text_repetition", {"repeated": [], "source": "own"}, "dilatih pada data Anda sendiri"),
    (FOUR, "text_repetition", {"spread": KNOWN, "repeated": [PLACED]}, "Tidak satu pun baris, bila dibaca sendirian"),
    (FOUR, "text_repetition", {"spread": KNOWN, "repeated": [ALONE]}, "tampak lebih baik, padahal putusannya setara."),
    (FOUR, "text_repetition", {"spread": KNOWN, "repeated": [ALONE | {"shown": "below"}]}, "tampak lebih buruk,"),
    (FOUR, "text_repetition", {"spread": KNOWN, "repeated": [ALONE | {"alone": "misses"}]}, "tampak tidak berbeda, padahal"),
    (FOUR, "text_repetition", {"spread": {"n": 1, "sd": None, "range": 0}, "repeated": [PLACED]}, "sebarannya belum diketahui"),
    (FOUR, "text_repetition", COARSE | {"precisions": [SHOWN]}, "berbeda −0,0025 untuk resep (IK 90% −0,0122 hingga 0,0071;"),
    (FOUR, "text_repetition", COARSE | {"precisions": [SHOWN, SHOWN | {"name": "combination"}]}, "dan −0,0025 untuk gabungan"),
    (FOUR, "text_repetition", COARSE | {"precisions": [SHOWN | {"shown": False}]}, "Kesetaraan keduanya belum terbukti"),
    (FOUR, "tbl_pengulangan", {"repeated": [PLACED]}, " | 0,800–0,850 (5 seed) | di atas | "),
    (FOUR, "tbl_pengulangan", {"repeated": [NOWHERE]}, "| 0,900 | – | – | +90,0 | – | – | setara |"),
    (FOUR, "tbl_pengulangan", {"repeated": []}, "| Baris Anda | Seed | AUC |"),
    (FOUR, "tbl_pengulangan_caption", {"repeated": []}, "citra uji dari"),
    *[(FIVE, "text_partner", {"partner": "reference", "provenance.precision": one}, f"yang sama ({one}), sehingga tidak dilatih")
      for one in ("float32", "bfloat16")],
    (FIVE, "text_partner", {"partner": "own"}, "pelatihan resep pada laporan ini"),
    (FOUR, "tbl_rincian_caption", {"source": "reference", "reference.machines": ["A", "B"]}, "pada beberapa mesin, sehingga"),
    (FIVE, "tbl_percobaan", {"variants.1": ROW}, "+0,031 (0,010–0,052) | lebih baik | "),
    (FIVE, "tbl_percobaan", {"variants.1": ROW}, "| −5,0 (−9,0 hingga −1,0) | setara |"),
    (FIVE, "tbl_percobaan", {"variants.1": ROW | {"predicts": UNDECIDED}}, "| belum dapat diputuskan | "),
    (FIVE, "tbl_percobaan", {"variants.1": ONE_SEED}, "| belum dapat diputuskan (satu seed) | "),
    (FIVE, "text_guesses", {"guesses": [None]}, "Tidak ada dugaan yang dituliskan sebelum pelatihan."),
    (FIVE, "text_guesses", {"guesses": [GUESS]}, "digeser”: AUC naik (+0,010), terukur +0,123 (IK 95%"),
    (FIVE, "text_guesses", {"guesses": [GUESS]}, "0,175), arahnya sesuai, besarnya di luar"),
    (FIVE, "text_guesses", {"guesses": [GUESS | {"within": True}]}, "besarnya di dalam interval."),
    (FIVE, "text_guesses", {"guesses": [GUESS | {"size": None, "agrees": "tidak"}]}, "0,175), arahnya tidak sesuai."),
    (FIVE, "text_guesses", {"guesses": [GUESS | {"agrees": PENDING}]}, "arahnya belum dapat diputuskan"),
    (FIVE, "text_guesses", {"guesses": [SMALLER]}, "kesenjangan turun (+1,0 poin persen)"),
    (FIVE, "text_guesses", {"guesses": [GUESS | {"direction": "across"}]}, "AUC tidak berubah bermakna (+0,010)"),
    (FIVE, "text_guesses", {"guesses": [GUESS | {"direction": "across"}]}, "0,175), dugaan itu sesuai"),
    (FIVE, "text_holm", {"variants.1.predicts": BY_HOLM}, "“Dua lapisan konvolusi\\, citra digeser” (p 0,094)."),
    (FIVE, "text_holm", {"variants.1.overfits": BY_HOLM}, "selisih kesenjangan “Dua lapisan"),
    (FOUR, "text_holm", {"shown.1.predicts": BY_HOLM}, "dikoreksi dengan prosedur Holm atas semua baris: selisih AUC “"),
    (FIVE, "text_ensemble", {"ensembles": [ENSEMBLE]}, "citra digeser” 0,123 (IK 95% 0,071–0,175), lebih baik."),
    ("laporan", "abstract", {"training.against_majority": "above"}, "akurasinya melampaui tebakan mayoritas"),
    ("laporan", "abstract", {"training.against_majority": "below"}, "akurasinya di bawah tebakan mayoritas"),
    ("laporan", "abstract", {"training.against_majority": "across"}, "atas tebakan mayoritas belum dapat dipastikan"),
    ("laporan", "title", {"training.provenance.data.collection": "ChestMNIST"}, "Transfer Learning pada Foto Toraks"),
    ("laporan", "title", {"training.provenance.data.collection": "OrganAMNIST"}, "pada Citra OrganAMNIST"),
    ("laporan", "facts", {"training.provenance.seeds": [3]}, "- Seed | 3"),
    ("laporan", "facts", {"training.provenance.seeds": [3, 4, 5]}, "- Seed | 3–5"),
    ("laporan", "abstract", {"training.provenance.data.kind": "phantom"}, "Citra itu buatan"),
    ("laporan", "abstract", {"training.provenance.weights.kind": "imagenet"}, "dilatih dari bobot ImageNet"),
    ("laporan", "text_conclusion", {"overfitting.final_gap": {**ESTIMATE, "side": "above"}}, "yang terukur: kesenjangan"),
    ("laporan", "text_conclusion", {"overfitting.final_gap": {**ESTIMATE, "side": "across"}}, "tidak dapat dipastikan"),
    ("laporan", "text_conclusion", {"remedies.summary.combination": None}, "gabungan tidak dinilai"),
    ("laporan", "text_summary", {"remedies.summary": ROWS_COUNTED}, "Daya prediksi: 9 belum dapat diputuskan"),
    ("laporan", "abstract", {"remedies.summary": ROWS_COUNTED}, "belum ada perbaikan yang terbukti"),
    ("laporan", "abstract", {"remedies.summary": counted("lebih baik")}, "Menurut studi acuan, sebagian perbaikan terbukti"),
    ("laporan", "abstract", {"remedies.summary": counted("lebih baik"), "remedies.source": "own"}, "Sebagian perbaikan terbukti"),
    ("laporan", "abstract", {"remedies.summary": ROWS_COUNTED, "remedies.source": "own"}, "Belum ada perbaikan yang terbukti"),
    ("laporan", "abstract", OTHER_DATA, "Perbaikan belum dinilai pada data ini; putusan studi acuan pada fantom hanya"),
    ("laporan", "abstract", {"experiments.summary": counted("lebih baik")}, "Ada percobaan penulis sendiri yang terbukti"),
    ("laporan", "abstract", {"experiments.summary": ROWS_COUNTED}, "Belum ada percobaan penulis sendiri yang terbukti"),
    ("laporan", "text_conclusion", {"experiments.summary": counted("setara")}, "Percobaan penulis sendiri (1 baris) dinilai"),
    ("laporan", "text_conclusion", {"experiments.summary": TYPED}, "1 terbukti memprediksi lebih baik (“A\\*B”)."),
    ("laporan", "text_task", {"training.provenance.data.kind": "phantom"}, "Datanya **fantom**"),
    ("laporan", "text_conclusion", {"overfitting.final_gap": {**ESTIMATE, "side": "below"}}, "tidak ada *overfitting*"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "macro", "changes", "words"),
    WORDS,
    ids=[f"{w[0][:2]}-{w[1]}-{i}" for i, w in enumerate(WORDS)],
)
def test_the_words_follow_the_results(say, name, macro, changes, words):
    assert words in say(name, macro, changes)


def test_the_abstract_is_short_and_of_five_numbers(say):
    """Five values or estimates from the results; an estimate may print its interval too."""
    text = say("laporan", "abstract", {"training.provenance.data.kind": "phantom"})
    plain = re.sub(r" \(IK 95% [^)]*\)|\d+×\d+", "", text)
    assert (
        len(text.split()) <= 120
        and len(re.findall(r"\d[\d.,]*", plain.replace("ResNet-18", ""))) <= 5
    ), plain


# What a reader of the report's drafts stumbled over; the words in its place are those of the field.
FORMER = (
    r"topeng|jelas dari nol|terbedakan|citra gambaran|menambah pekerjaan|bergerak dari|dipilih oleh|sekadar perbandingan"
    r"|\bpetak\b|\bupah\b|\*\*membaca:|\*\*menyerahkan:|tanggapan|skala tanpa|\bkepala\b|\bsabar\b|tanpa layar"
    r"|\bundian\b|perbandingan skala|bentuk yang dijalankan|angka yang diserahkan"
)


def said_in(path: Path) -> str:
    """The words of a file that people read: of Python its strings without docstrings, of a notebook its Markdown."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        return "\n".join(
            "".join(c["source"])
            for c in json.loads(source)["cells"]
            if c["cell_type"] == "markdown"
        )
    if path.suffix != ".py":
        return source
    tree = ast.parse(source)
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return "\n".join(node.value for node in strings if id(node) not in alone)


@pytest.mark.parametrize("folder", ["cxr_helpers", "notebooks", "report", "grading", "."])
def test_the_words_agreed_upon_are_used(folder):
    kinds = (
        ("*.md",) if folder == "." else ("**/*.py", "**/*.ipynb", "**/*.j2", "**/*.md", "**/*.txt")
    )
    paths = [
        path
        for kind in kinds
        for path in (ROOT / folder).glob(kind)
        if ".ipynb_checkpoints" not in path.parts
    ]
    found = {path.name: re.findall(FORMER, said_in(path), re.I) for path in paths}
    assert len(paths) > 2 and not {name: words for name, words in found.items() if words}


def test_the_reference_report_is_defined_once_and_called_so():
    for path in (
        *show.TEXTS.glob("*.j2"),
        *(ROOT / "notebooks").glob("*.ipynb"),
        ROOT / "report/laporan.ipynb",
    ):
        named = said_in(path).lower().count("laporan mata kuliah")
        assert named == (path.name in ("laporan.md.j2", "03_analisis_overfitting.ipynb")), path.name


def test_the_recommendations_are_numbered_in_the_order_of_the_course():
    numbers = reference.beside([], reference.read(), "phantom")["numbers"]
    assert list(numbers) == list(remedies.RECOMMENDED) and list(numbers.values()) == list(
        range(1, 12)
    )


def test_the_abstract_of_patients_does_not_call_them_drawn(say):
    assert "buatan" not in say(
        "laporan", "abstract", {"training.provenance.data.kind": "chestmnist"}
    )


@pytest.mark.parametrize("name", [*FILES, "laporan"])
def test_every_macro_can_be_said_of_the_smoke_report(say, name):
    """Nothing is left in a template that no results can fill."""
    shown = {
        FOUR: {
            "ensemble": ENSEMBLE,
            "detectable": [DETECTABLE],
            "background": ROWS_COUNTED,
            "summary.smaller": [0],
            "pretraining": EVERY_LABEL,
            "shown.1.predicts": BY_HOLM,
        },
        FIVE: {"variants.1.predicts": BY_HOLM},
    }.get(name, {})
    parsed = show._environment().parse((show.TEXTS / f"{name}.md.j2").read_text(encoding="utf-8"))
    for macro in parsed.find_all(nodes.Macro):
        if not macro.name.startswith("_"):
            assert say(name, macro.name, shown), macro.name
