"""Every branch of every sentence: results on either side of a verdict, and the words they get."""

import re

import pytest
from jinja2 import nodes

from cxr_helpers.claims import VERDICTS
from report import chapter

PARTS = {
    "adaptation": "01_adaptasi_bobot",
    "training": "02_pelatihan",
    "overfitting": "03_analisis_overfitting",
    "remedies": "04_perbaikan",
    "experiments": "05_percobaan",
}
ONE, TWO, THREE, FOUR, FIVE = PARTS.values()
REPORT = "laporan"
MACROS = []
for chapter_name in (*PARTS.values(), REPORT):
    template = (chapter.TEXTS / f"{chapter_name}.md.j2").read_text("utf-8")
    MACROS += [(chapter_name, macro) for macro in re.findall(r"{% macro ([a-z]\w+)\(", template)]
HOLE = re.compile(r"\bNone\b|\bnan\b|\binf\b|Undefined|<\w+ .*object|\{[{%]|[}%]\}")


class Texts:
    """The templates, compiled once, on results in memory; notes what each condition has been."""

    def __init__(self, results: dict[str, dict]):
        self.results, self.unseen = results, set()
        self.templates = chapter._environment(chapter.TEXTS)
        self.templates.globals["noted"] = self._noted
        self._parse, self.templates._parse = self.templates._parse, self._watched

    def _watched(self, source: str, name: str, filename: str) -> nodes.Template:
        tree = self._parse(source, name, filename)
        for number, node in enumerate(list(tree.find_all((nodes.If, nodes.CondExpr)))):
            place = f"{name}:{node.lineno} ({number})"
            self.unseen |= {(place, True), (place, False)}
            given = [nodes.Const(place), node.test]
            node.test = nodes.Call(nodes.Name("noted", "load"), given, [], None, None)
            node.test.set_lineno(node.lineno)
        return tree

    def _noted(self, place: str, condition: object) -> object:
        self.unseen.discard((place, bool(condition)))
        return condition

    def say(self, name: str, macro: str, changes: dict) -> str:
        """The words of a macro on the results with values replaced.

        A key with dots is a place in the results; one without is replaced wherever it stands.
        """
        keys = {key: value for key, value in changes.items() if "." not in key}
        bodies = replaced(self.results, keys) if keys else self.results
        for place in changes.keys() - keys.keys():
            part, _, rest = place.partition(".")
            path = [PARTS[part], *rest.split(".")] if name == REPORT else [name, *place.split(".")]
            bodies = put(bodies, path, changes[place])
        known = {file: chapter.traced(body, file) for file, body in bodies.items()}
        seen = {p: known[f] for p, f in PARTS.items()} if name == REPORT else {"r": known[name]}
        template = self.templates.get_template(f"{name}.md.j2")
        words = getattr(template.make_module({**seen, "printed": []}), macro)()
        assert not HOLE.search(words), words
        return " ".join(words.split())


def put(body, path: list[str], value):
    """The results with another value at a place; what is not on the way there is shared."""
    if not path:
        return value
    key = int(path[0]) if isinstance(body, list) else path[0]
    copied = body.copy()
    copied[key] = put(body[key] if path[1:] else None, path[1:], value)
    return copied


def replaced(body, values: dict):
    if isinstance(body, dict):
        return {k: values[k] if k in values else replaced(v, values) for k, v in body.items()}
    if isinstance(body, list) and body and isinstance(body[0], dict):
        return [replaced(one, values) for one in body]
    return body


@pytest.fixture(scope="module")
def texts(built) -> Texts:
    results = {file: built.result(file) for file in PARTS.values()}
    results[ONE]["batch_norm"] = DRIFT  # random weights have none
    return Texts(results)


SIDES = {
    (ONE, "text_starts"): ("lebih baik", "lebih buruk", "memuat nol"),
    (ONE, "text_drift"): ("memang memperbaiki", "justru merugikan", "belum dapat dipastikan"),
    (TWO, "text_test"): ("di atasnya", "lebih sering salah", "belum dapat dipastikan"),
    (THREE, "text_gap"): ("belum berarti *over", "justru lebih tinggi", "belum dapat dipastikan"),
    (THREE, "text_overfitting"): ("kenaikan *loss* validasi, s", "pembeda, s", "tidak terbukti: k"),
    (THREE, "text_learning_curve"): ("masih menanjak.", "menurun", "manfaatnya belum"),
    (THREE, "text_memorisation"): ("tidak terlihat", "menuruti anatomi", "belum tampak"),
    (THREE, "text_patient_folds"): ("bukan penyakit", "justru lebih rendah", "belum dapat"),
    (THREE, "text_temperature"): ("menaikkan", "menurunkan", "tidak terbukti mengubah"),
    (THREE, "text_response"): ("Yang menaikkan", "Yang menurunkan", "tidak terbukti mengubah"),
    (FOUR, "text_shortcut"): ("hanya karena", "hanya karena", "Tidak terbukti ada jawaban"),
    (REPORT, "points"): ("kenaikan *loss* validasi, se", "daya pembeda, se", "tidak terbukti: k"),
    (REPORT, "abstract"): ("melampaui tebakan", "di bawah tebakan", "belum dapat dipastikan"),
    (REPORT, "text_ruler"): ("model lebih baik", "model lebih buruk", "tidak terbukti lebih"),
    (REPORT, "text_memory"): ("terbalik dihafal.", "menuruti anatomi.", "Hafalan belum terbukti."),
    (REPORT, "text_temperature"): ("menaikkan *loss*", "menurunkan *loss*", "tidak terbukti m"),
}


def on_side(side: str) -> dict:
    known = {"side": side, "against_majority": side, "turned": True, "follows": False}
    return known | {"response": [RESPONSE | {"change": ESTIMATE | {"side": side}}]}


@pytest.mark.parametrize(("name", "macro"), SIDES)
def test_the_words_follow_the_side_of_zero(texts, name, macro):
    for side, words in zip(("above", "below", "across"), SIDES[name, macro], strict=True):
        assert words in texts.say(name, macro, on_side(side)), side


OF_PATIENTS = re.compile(r"\w dari [\d.]+ pasien")
ESTIMATE = {"value": 0.123, "ci95": [0.071, 0.175]}
RESPONSE = {"thing": "tube", "n": 50, "change": ESTIMATE | {"side": "above"}}
UNKNOWN = dict.fromkeys(("patients", "n_patients"))


def test_patients_are_counted_beside_images_where_they_are_known(texts):
    counting = [macro for macro in MACROS if OF_PATIENTS.search(texts.say(*macro, {}))]
    assert len(counting) > 8
    assert not [macro for macro in counting if OF_PATIENTS.search(texts.say(*macro, UNKNOWN))]


POINTS, NUMBER = "+12,3 poin persen (IK 95% 7,1–17,5)", "0,123 (IK 95% 0,071–0,175)"
PENDING = "belum dapat diputuskan"
BETTER = ESTIMATE | {"p": 0.01, "p_adjusted": 0.02, "verdict": "lebih baik"}
OPEN = BETTER | {"verdict": PENDING}
FALLS = {"value": -0.1}
BY_HOLM = OPEN | {"p_adjusted": 0.094, "by_holm": True}
JUDGED = {"predicts": BETTER, "overfits": BETTER | {"verdict": "setara"}}
JUDGED |= {"difference": {"val_loss": ESTIMATE}}
FEW = {"shown.1.predicts": OPEN | {"p": None}}
DRIFT = {"n_images": 512, "drift": [{"layer": "bn1", "shift": 0.5, "scale": 1.2}]}
DRIFT |= {"change": ESTIMATE | {"side": "above"}}
STRATEGY = {"reduce": "sum", "resize": "area", "scale": "norm", "correlation": 0.95}
STARTS = [{"title": "A", "seeds": [0, 1, 2], "side": "across"}]
ONE_SEED = [STARTS[0] | {"seeds": [0]}]
SURE = {"n": 4, "patients": 3, "n_flipped": 2, "labels": [0, 1], "predicted": [1, 0]}
SURE |= {"remarks": ["label\nterbalik", ""]}
HALF, CHOSEN = {"specificity": [0.57, 0.85]}, {"specificity": [0.78, 0.82]}
SEEDS = {"seeds": 10, "auc": [0.87, 0.91], "half": HALF, "chosen": CHOSEN, "steadier": True}
AT = {"sensitivity": ESTIMATE, "specificity": ESTIMATE, "missed": 0.48}
ALOUD = {"threshold": {"run": {"half": AT, "chosen": AT}, "range": SEEDS}}
RESTLESS = {"threshold": ALOUD["threshold"] | {"range": SEEDS | {"steadier": False}}}
MOVED = [{"thing": thing, "change": ESTIMATE | {"side": "above"}} for thing in ("ratio", "tube")]
CONFIDENT = {"confidence.n_above_90": 5, "confidence.confident_error_share": ESTIMATE}
SIGNS = {"n": 9, "patients": None, "ctr": 0.589, "air": 0.24}
WEAKER = {"weaker": True, "memorisation.correct": SIGNS}
WEAKER |= {"memorisation.flipped": SIGNS | {"ctr": 0.539, "air": 0.12}}
RISEN = {"turned": True, "turn.rise": ESTIMATE, "turn.ranking": ESTIMATE}
BOTH = {"turned": True, "turn.rise.side": "above", "turn.ranking.side": "below"}
TESTED = {verdict: 1 for verdict in VERDICTS} | {"n": 19, "tested": 10, VERDICTS[3]: 5}
INSIDE = {"interval": [0.8, 0.85], "place": "within"}
MISLED = {"row": 1, "shown": "above", "verdict": "setara", "misleads": True, "seeds": 5}
MISLED |= {"auc": INSIDE, "gap": INSIDE}
UNPLACED = MISLED | {key: {"interval": None, "place": None} for key in ("auc", "gap")}
BELOW = MISLED | {"shown": "below", "auc": INSIDE | {"place": "below"}}
FLOAT = {"name": "baseline", "margin": 0.02, "shown": True, "value": -0.002, "ci90": [-0.01, 0.007]}
COARSE = {"provenance.precision": "bfloat16", "reference.precision": "float32"}
COARSE |= {"precisions": [FLOAT, FLOAT | {"name": "combination"}]}
ENSEMBLE = {"seeds": [0, 1, 2], "test": {"auc": ESTIMATE}, "difference": BETTER}
SETS = [{"title": own["verdict"], "own": own, "shared": BETTER} for own in (BETTER, OPEN)]
PLAN = {"images": 682, "patients": 360, "seeds": [5, 10], "rows": 18, "difference": 0.0417}
PLAN |= {"needed": [{"difference": 0.02, "seeds": 16}, {"difference": 0.01, "seeds": None}]}
PLAN |= {"equal": 40, "most": 100}
GUESS = ESTIMATE | {"measure": "predicts", "direction": "above", "size": 0.01, "agrees": "ya"}
GUESS |= {"within": False}
NO_SIZE = {"size": None, "agrees": "tidak"}
OTHER_DATA = {"training.provenance.data.kind": "chestmnist"}
OWN_RUN = {"seeds": [3, 4, 5], "seed_of_nim": True, "data.kind": "file", "weights.kind": "file"}
OWN_RUN = {f"training.provenance.{place}": value for place, value in OWN_RUN.items()}
ROW = {"title": "Baris A", "seeds": [0, 1, 2], "gap": ESTIMATE}
ROW |= JUDGED | {"test": {"auc": ESTIMATE | {"sd": 0.001}}}
PARTNER = ROW | {
    "predicts": None,
    "test": {m: ESTIMATE | {"sd": 0.01} for m in ("auc", "specificity")},
}
SHAKY = ROW | {"title": "Baris B", "test": {"auc": ESTIMATE | {"sd": 0.02}}}
DOSE = {"lr_times": 3.75, "steps": 730, "shrinks": 0.0142, "weak": True}
COMBINED = {"source": "own", "combination": 1, "shown.1": ROW | {"parts": ["A", "B"]}}
FEW_RUNS = {"variants.1": ROW | {"seeds": [0, 1], "predicts": OPEN | {"p": None}}}


def traced_row(least: float) -> dict:
    """A row that gives one class, trained on one augmented class; least: of its AUC's interval."""
    guessed = ESTIMATE | {"p": 0.01, "p_adjusted": 0.02, "verdict": "menebak mayoritas"}
    auc = {"value": 0.77, "ci95": [least, 0.8], "sd": None}
    row = {"changed": {"augment_target": "minority"}, "test": {"auc": auc}}
    row |= {"recommendation": 10, "predicts": guessed, "overfits": guessed}
    return {"shown": [ROW | row]}


def counted(verdict: str, *titles: str) -> dict:
    """A summary of one row with this verdict under both questions."""
    group = [{"verdict": verdict, "n": 1, "titles": list(titles)}]
    return {"n": 1, "predicts": group, "overfits": group, "combination": None}


TWO_GROUPS = {
    "experiments.summary.predicts": [counted(v)["predicts"][0] for v in ("setara", PENDING)]
}


def claim(kind: str, verdict: str = "dibantah", *reasons: str, **values) -> dict:
    """One claim of the reference report, and what was measured."""
    known = {"id": "train_loss_first", "kind": kind, "verdict": verdict, "reasons": list(reasons)}
    return ESTIMATE | known | {"claimed": 0.65, "tolerance": 0.05} | values


def number(*of_claim: str) -> dict:
    return {"claims.numbers": [claim("loss", *of_claim)]}


def shape(kind: str, **values) -> dict:
    return {"claims.shapes": [claim(kind, **{"id": "val_loss_falls"} | values)]}


def found(verdict: str, source: str = "reference") -> dict:
    return {"remedies.summary": counted(verdict), "remedies.source": source}


# (template, macro, what is replaced in the results, words that this branch says or ¬does not, …)
LOWER = {"selection.1.differs": ["acc"], "selection.1.difference.acc.value": -0.1}
BRANCHES = [
    (ONE, "text_strategies", {"best_strategy": STRATEGY}, "jumlah, rata-rata area, skala norma"),
    (ONE, "text_strategies", {"strategies": [STRATEGY], "best_strategy": STRATEGY}, "tidak ada"),
    (ONE, "text_starts", {"starts": STARTS}, "memuat nol", "¬antarcitra"),
    (ONE, "text_starts", {"starts": ONE_SEED}, "antarcitra"),
    (TWO, "text_overlap", {"shared": [{"splits": ["train", "test"], "n": 3}]}, "3 citra latih dan"),
    (TWO, "text_intensity", {"brighter": None}, "tidak terlihat bahwa"),
    (TWO, "text_intensity", {"brighter": 1}, "pneumotoraks lebih terang"),
    (TWO, "text_leakage", {"flattery": 0.123}, "Selisih 12,3 poin persen itu"),
    (TWO, "text_leakage", {"flattery": 0.0}, "kebetulan sama"),
    (THREE, "text_overfitting", BOTH, "*loss* validasi dan pada penurunan daya"),
    (THREE, "text_overfitting", BOTH | {"turned": False}, "tidak terbukti: k"),
    (THREE, "text_gap", {"seeds": [0, 1]}, "dari dua *seed*: interval citra saja"),
    (THREE, "text_gap", {"seeds": [0, 1, 2]}, "¬citra saja"),
    (THREE, "text_turn", RISEN, f"terakhir *loss* naik {NUMBER}"),
    (THREE, "text_selection", {"selection.1.differs": ["acc", "auc"]}, "akurasi uji dan"),
    (THREE, "text_selection", LOWER, "terbukti menurunkan akurasi uji."),
    (THREE, "text_selection", {"selection.1.differs": ["auc"]}, "AUC uji.", "¬akurasi"),
    (THREE, "text_threshold", ALOUD, "57,0–85,0%", "sebagian goyahnya"),
    (THREE, "text_threshold", RESTLESS, "tidak membuatnya lebih ajek"),
    (THREE, "text_memorisation", WEAKER, "0,539 berbanding 0,589"),
    (THREE, "text_memorisation", WEAKER | {"weaker": False}, "¬berbanding"),
    (THREE, "text_confidence", CONFIDENT, "12,3% (IK 95% 7,1–17,5) di antaranya salah."),
    (THREE, "text_confidence", {"beyond_chance": True}, "memang meleset"),
    (THREE, "text_confidence", {"beyond_chance": False}, "tidak terbukti meleset"),
    (THREE, "fig_salah_yakin_alt", {"confident_errors": SURE}, "Kardiomegali, label terbalik;"),
    (THREE, "text_confident_errors", {"confident_errors": SURE}, ": 4 citra dari 3", "Pada 2"),
    (THREE, "text_confident_errors", {"n": 4, "n_flipped": None}, "tidak diketahui."),
    (THREE, "tbl_klaim", number("didukung"), f"| 0,65 (±0,05) | {NUMBER} | didukung |"),
    (THREE, "text_claimed_numbers", {"different": [], "of_recipe": False}, "memerlukan tiga"),
    (THREE, "text_claimed_numbers", {"different": [], "of_recipe": True}, "angkanya dapat diuji"),
    (THREE, "tbl_bentuk", shape("gap"), f"| {POINTS} | dibantah |"),
    (THREE, "tbl_bentuk", shape("untrained"), "| – | dibantah |"),
    (THREE, "tbl_bentuk", shape("transfer", acc=ESTIMATE), f"{NUMBER} |"),
    (THREE, "tbl_bentuk", shape("features", acc=0.7, majority=0.6), f"{POINTS} |"),
    (THREE, "text_claims", {"claims_summary": TESTED}, "10 diuji di sini: 1 di", "5 tertahan"),
    (FOUR, "text_source", {"provenance.data.kind": "chestmnist"}, "**tidak berlaku untuk"),
    (FOUR, "text_source", {"source": "own"}, "dilatih di sini"),
    (FOUR, "tbl_perbaikan", JUDGED, "| lebih baik | +0,123 (0,071–0,175) | setara | +12,3 (7,1"),
    (FOUR, "tbl_perbaikan", traced_row(0.55), "| mempelajari jejak augmentasi | "),
    (FOUR, "tbl_perbaikan", traced_row(0.45), "| menebak mayoritas | ", "¬jejak"),
    (FOUR, "tbl_perbaikan", FEW | {"shown.1.seeds": [0]}, f"| {PENDING} (satu *seed*) |"),
    (FOUR, "text_remedies", {"summary": counted("lebih baik", "A")}, "baik (“A”).", "menyempit"),
    (FOUR, "text_remedies", {"summary": counted("lebih buruk")}, "lebih buruk", "melebar."),
    (FOUR, "text_remedies", {"summary": counted("menebak mayoritas")}, "1 hanya memilih"),
    (FOUR, "text_margin", {"summary.narrow": [0, 3]}, "ada 0 dan 3."),
    (FOUR, "text_remedies", {"training_sets": SETS}, "tetap lebih baik.", "jadi belum"),
    (FOUR, "text_remedies", {"training_sets": None}, "dari pasien lain belum diukur"),
    (FOUR, "text_detectable", {"detectable": [PLAN]}, "100 untuk selisih 0,01", " 16 "),
    (FIVE, "text_holm", {"before": 7}, "7 percobaan lain sudah"),
    (FIVE, "text_holm", {"variants.1.predicts": BY_HOLM}, "(p 0,094)"),
    (FOUR, "text_val_loss", {"summary.closed": counted("above", "A")["predicts"]}, "1 menaikkan"),
    (FOUR, "text_val_loss", {"summary.closed": []}, ""),
    (FOUR, "text_stability", {"shown": [SHAKY, ROW]}, "ajek “Baris A” (", "h “Baris B” (0,02"),
    (FOUR, "text_stability", {"shown": [ROW]}, ""),
    (FOUR, "text_dose", {"dose": DOSE}, "3,75 kali", "1,4%", "lemah"),
    (FOUR, "text_dose", {"weak": False}, "langkah.", "¬lemah"),
    (FOUR, "text_holm", {"shown.1.predicts": BY_HOLM}, "(p 0,094)"),
    (FOUR, "text_combination", {"combination": None}, "validasi tidak menunjuk"),
    (FOUR, "text_combination", COMBINED, "memilih gabungan “A”, “B”", "selisih AUC-nya"),
    (FOUR, "text_repetition", {"repeated": [MISLED] * 2}, "lebih baik, padahal", "Anda di dalam"),
    (FOUR, "text_repetition", {"repeated": [BELOW] * 2}, "lebih buruk, padahal", "Anda di bawah"),
    (FOUR, "text_repetition", {"repeated": [UNPLACED]}, "belum dapat diperkirakan"),
    (FOUR, "text_repetition", {"repeated": []}, "dinilai sendiri"),
    (FOUR, "tbl_pengulangan", {"repeated": [MISLED]}, "| 0,800–0,850 | ", "| 5 | setara |"),
    (FIVE, "tbl_percobaan", {"variants.1.predicts": OPEN | {"p": None}}, "(pembanding satu"),
    (FIVE, "tbl_percobaan", FEW_RUNS, f"{PENDING} (dua *seed*)"),
    (FIVE, "text_guesses", {"guesses": [GUESS]}, f"naik (+0,010), terukur +{NUMBER}", "di luar"),
    (FIVE, "text_guesses", {"guesses": [GUESS | NO_SIZE]}, "tidak sesuai."),
    (FIVE, "text_guesses", {"guesses": [GUESS | {"direction": "across"}]}, "dugaan itu sesuai"),
    (REPORT, "title", {}, "ResNet-18 dari Bobot Acak pada Fantom Toraks"),
    (REPORT, "title", OWN_RUN, "Transfer Learning ResNet-18 pada Foto Toraks"),
    (REPORT, "facts", OWN_RUN, "*seed* 3–5", "(dari NIM)"),
    (REPORT, "text_command", OWN_RUN, "DATA=BERKAS.npz", "WEIGHTS=BERKAS "),
    (REPORT, "abstract", {}, "Tidak ada pasien yang difoto"),
    (REPORT, "abstract", OTHER_DATA, "¬difoto"),
    (REPORT, "abstract", found("lebih baik", "own"), "pengukuran di sini, 1 dari 1 perlakuan"),
    (REPORT, "abstract", found("lebih buruk"), "belum satu pun dari 1"),
    (REPORT, "abstract", {"experiments.summary": counted("lebih baik")}, "1 terbukti lebih baik"),
    (REPORT, "abstract", {"experiments.summary": counted("lebih buruk")}, "1 terbukti lebih buruk"),
    (REPORT, "text_remedies", {"remedies.shown": [PARTNER, ROW, SHAKY]}, "baris A dan baris B men"),
    (REPORT, "text_remedies", {"remedies.shown": [PARTNER]}, "belum satu pun perlakuan terbukti"),
    (REPORT, "text_remedies", {"remedies.shown": [PARTNER, ROW]}, "baris A menaikkan", "0,123;"),
    (REPORT, "text_remedies", found(PENDING), "1 perlakuan belum terbukti.", "Tidak satu pun p"),
    (REPORT, "text_combination", {"training_sets": SETS}, "tetap lebih baik dan putusan belum"),
    (REPORT, "text_combination", {"training_sets": None}, "¬pasien lain"),
    (REPORT, "text_conclusion", {"experiments.summary": counted("setara")}, "1 setara."),
    (REPORT, "text_conclusion", TWO_GROUPS, "1 setara; 1 belum terbukti."),
    (REPORT, "text_history", {"turned": True, "rise": ESTIMATE}, "terakhir ia naik 0,123"),
    (REPORT, "text_history", {"turned": True, "rise": ESTIMATE | FALLS}, "ia turun 0,100"),
    (REPORT, "text_history", {"turned": False}, "belum berbalik naik"),
]
# Branches that only leave a sentence out, or say what a setting is: they leave no hole.
NONE_OF = "starts patients outlines learning_curve from_first memorisation range "
NONE_OF += "patient_folds n_flipped detectable ensemble cross_validation sd batch_norm"
NONE = {key: None for key in NONE_OF.split()} | {"repeated": [], "different": []}
SMALL = {"removed": False, "same_size": True, "single_label_filter": False, "pneumothorax": False}
SMALL |= {"learning_curve_source": "reference", "of_recipe": True, "each_seed": [2, 3]}
SMALL |= {"provenance.weights.kind": "imagenet", "follows": True}
SMALL |= {"machines": ["A"], "background": counted("setara"), "trainings": 1}
OTHER = {"provenance.data.kind": "chestmnist", "source": "own"}
OTHER |= {"ensemble": ENSEMBLE, "repeated": []}
SMALLER = [
    (ONE, NONE, "text_starts text_drift"),
    (ONE, SMALL, "text_architecture text_strategies"),
    (ONE, {"vanished": 0}, "text_kernels"),
    (TWO, NONE, "text_patients"),
    (TWO, SMALL | OTHER, "text_filter text_patients"),
    (THREE, NONE, "text_learning_curve text_memorisation text_patient_folds text_threshold"),
    (THREE, NONE, "text_claimed_numbers"),
    (THREE, {"from_first": None}, "text_learning_curve"),
    (THREE, SMALL, "text_memorisation text_claims text_learning_curve text_turn"),
    (FOUR, NONE, "text_detectable text_ensemble text_cross_validation"),
    (FOUR, NONE, "tbl_pengulangan tbl_perbaikan"),
    (FOUR, {"repeated": [UNPLACED]}, "tbl_pengulangan"),
    (FOUR, SMALL | {"first": "2026-11-01", "last": "2026-11-01"}, "text_source"),
    (FOUR, SMALL | {"combination": None}, "text_combination text_background"),
    (FOUR, OTHER, "text_remedies text_ensemble text_repetition"),
    (FOUR, COARSE, "text_repetition"),
    (FOUR, COARSE | {"provenance.precision": "float32"}, "text_repetition"),
    (FIVE, {"guesses": [None], "ensembles": [None]}, "text_guesses text_ensemble"),
    (FIVE, {"partner": "reference"}, "text_partner"),
    (REPORT, NONE, "text_memory text_errors text_patients"),
    (REPORT, {"overfitting.patient_folds.flattery.side": "above"}, "text_patients"),
    (
        REPORT,
        {"weaker": True, "n_flipped": 1, "beyond_chance": True},
        "text_memory text_confidence",
    ),
    (REPORT, {"labels": [], "overfitting.confident_errors.n": 1}, "text_errors"),
    (REPORT, {"training.provenance.weights.kind": "imagenet"}, "text_adaptation"),
    (REPORT, {"adaptation.pooling.removed": False}, "text_architecture"),
    (REPORT, OTHER_DATA | {"collection": "OrganAMNIST"}, "text_data text_source title"),
    (REPORT, {"remedies.shown": [PARTNER, ROW]}, "text_stability"),
    (REPORT, {"sd": None}, "text_stability"),
    (REPORT, {"seed_of_nim": False}, "facts"),
    (REPORT, {"experiments.summary": counted("lebih baik")}, "text_conclusion"),
    (REPORT, {"response": []}, "text_response"),
    (REPORT, OTHER_DATA | {"response": MOVED}, "text_response"),
    (REPORT, ALOUD, "text_threshold"),
    (REPORT, RESTLESS, "text_threshold"),
    (
        REPORT,
        {"remedies.summary.combination": None, "remedies.shown": [PARTNER]},
        "text_conclusion",
    ),
    (REPORT, {"remedies.source": "own"}, "text_source"),
    (REPORT, {"combination": None, "training_sets": None}, "text_combination"),
]


@pytest.mark.parametrize("branch", BRANCHES, ids=lambda branch: f"{branch[0][:2]}-{branch[1]}")
def test_the_words_follow_the_results(texts, branch):
    name, macro, changes, *words = branch
    said = texts.say(name, macro, changes)
    assert bool(said) == (words != [""])
    for one in words:
        assert one[1:] not in said if one.startswith("¬") else one in said


def test_every_branch_of_every_template_is_rendered_above(texts):
    """… and every macro fits the results of the smoke report."""
    sides = ("above", "below", "across")
    said = [(name, macro, on_side(side)) for name, macro in SIDES for side in sides]
    said += [(*macro, known) for macro in MACROS for known in ({}, UNKNOWN)]
    said += [branch[:3] for branch in BRANCHES]
    said += [(name, macro, known) for name, known, macros in SMALLER for macro in macros.split()]
    for branch in said:
        texts.say(*branch)
    assert not texts.unseen
