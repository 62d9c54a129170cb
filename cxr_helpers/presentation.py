"""Tables, figures and computed sentences that a notebook and the report show alike, from results files only.

Each `show_*` takes the content of one results file (see results.read) and shows one thing; each `read_*` returns a sentence in
Indonesian whose wording follows from the values. Nothing is computed here that is not in the file.
"""

import numpy as np
import pandas as pd

from cxr_helpers import plots
from cxr_helpers.display import escape, show_figure, show_table, show_text
from cxr_helpers.engine.indonesian import date, duration, interval, join, number, percent, points

METRIC_NAMES = {
    "acc": "Akurasi",
    "balanced_acc": "Akurasi seimbang",
    "auc": "AUC",
    "f1": "F1",
    "sensitivity": "Sensitivitas",
    "specificity": "Spesifisitas",
    "ece": "ECE",
}
LISTED = 6  # rows that a sentence still names one by one; the table names them all
SPLIT_NAMES = {"train": "Latih", "val": "Validasi", "test": "Uji"}
SHARES = ("acc", "balanced_acc", "sensitivity", "specificity")  # written in percent; the others as plain numbers


def metric(name: str, value: dict) -> tuple[str, str]:
    """A metric and its interval as text: ('83,1%', '80,1–85,8') or ('0,901', '0,877–0,925')."""
    if name in SHARES:
        return percent(value["value"]), interval(value["ci95"])
    return number(value["value"]), interval(value["ci95"], digits=3, scale=1)


def sure(name: str, value: dict) -> str:
    """A metric with its interval inside a sentence."""
    return "{} (IK 95% {})".format(*metric(name, value))


# --- data and settings ----------------------------------------------------------------------------------------------


def read_filter(result: dict) -> str:
    """Which images of the source are used."""
    origin = result["provenance"]["data"]
    names = " atau ".join(escape(name) for name in origin["class_names"])
    if origin["single_label_filter"]:
        return f"Hanya citra yang satu-satunya labelnya adalah {names} yang dipakai, menurut susunan {origin['collection']} [@wang2017; @yang2023]."
    return (
        f"Setiap citra {origin['collection']} mempunyai tepat satu label [@yang2023]; yang dipakai adalah citra berlabel {names}."
    )


def read_overlap(result: dict) -> str:
    """Whether the splits share identical images."""
    shared = {pair: n for pair, n in result["provenance"]["data"]["overlap"].items() if n}
    if not shared:
        return "Tidak ada citra yang sama persis pada dua bagian data."
    listed = [
        f"{number(n, 0)} citra {' dan '.join(SPLIT_NAMES[s].lower() for s in pair.split('-'))}" for pair, n in shared.items()
    ]
    return f"**Perhatian:** ada citra yang sama persis pada dua bagian data ({join(listed)}), sehingga hasil pada bagian itu dapat terlalu baik."


def show_counts(result: dict, id: str = "tbl-data") -> None:
    """Images per class and split: used, and available in the source."""
    origin = result["provenance"]["data"]
    rows = []
    for split, name in SPLIT_NAMES.items():
        used, there = origin["counts"][split], origin["counts_available"][split]
        cells = [f"{number(used[c], 0)} dari {number(there[c], 0)}" for c in origin["classes"]]
        rows.append((name, *cells, number(sum(used.values()), 0), percent(max(used.values()) / sum(used.values()))))
    columns = ["Bagian", *(escape(name) for name in origin["class_names"]), "Jumlah", "Tebakan mayoritas"]
    show_table(
        pd.DataFrame(rows, columns=columns),
        id,
        "Banyaknya citra menurut kelas dan bagian: yang dipakai, dari yang tersedia pada sumber data. Kolom terakhir adalah akurasi "
        "yang dicapai dengan selalu menebak kelas terbanyak.",
    )


def show_samples(result: dict, id: str = "fig-contoh") -> None:
    """Example images of both classes, with the contours of the phantom's masks where they are known."""
    shown = result["samples"]
    names = result["provenance"]["data"]["class_names"]
    outlines = {name: np.array(masks, bool) for name, masks in (shown["outlines"] or {}).items()}
    figure = plots.samples(np.array(shown["images"], np.uint8), np.array(shown["labels"]), names, outlines)
    caption = f"Contoh citra latih: {escape(names[0])} (atas) dan {escape(names[1])} (bawah)."
    if outlines:
        caption += " Garis menunjukkan topeng kebenaran fantom, yang tidak pernah dilihat oleh jaringan."
    show_figure(figure, id, caption, f"Dua baris citra berukuran kecil: kelas {names[0]} di atas dan {names[1]} di bawah.")


def show_intensity(result: dict, id: str = "fig-intensitas") -> None:
    """Grey values of the training images by class."""
    i, names = result["intensity"], result["provenance"]["data"]["class_names"]
    show_figure(
        plots.intensity(np.array(i["edges"]), np.array(i["pixels"]), np.array(i["images"]), names),
        id,
        "Sebaran nilai keabuan citra latih (0 hitam, 255 putih) menurut kelas: setiap piksel (kiri) dan rerata setiap citra (kanan).",
        f"Dua histogram dengan satu garis untuk {names[0]} dan satu untuk {names[1]}: nilai keabuan setiap piksel dan rerata setiap citra.",
    )


def read_intensity(result: dict) -> str:
    """Whether brightness alone tells the classes apart."""
    auc = result["intensity"]["auc"]
    low, high = auc["ci95"]
    text = (
        f"Bila citra latih diurutkan menurut rerata keabuannya saja, AUC-nya {number(auc['value'])} (IK 95% {interval(auc['ci95'], 3, 1)}; "
        "0,5 berarti menebak). "
    )
    if low <= 0.5 <= high:
        return (
            text
            + "Interval itu memuat 0,5: tidak terlihat bahwa kecerahan saja membedakan kedua kelas, jadi yang harus dipelajari adalah bentuk."
        )
    brighter = result["provenance"]["data"]["class_names"][int(low > 0.5)]
    return text + (
        f"Interval itu tidak memuat 0,5: citra {escape(brighter)} cenderung lebih terang. Sebagian dari kemampuan jaringan dapat berasal dari kecerahan, "
        "bukan dari bentuk."
    )


def show_settings(result: dict, id: str = "tbl-resep") -> None:
    """The training recipe as a table of settings."""
    c = result["config"]
    rows = [
        ("Banyaknya epoch", number(c["epochs"], 0)),
        ("Ukuran batch", number(c["batch_size"], 0)),
        ("Pengoptimal", {"adam": "Adam", "adamw": "AdamW"}[c["optimizer"]]),
        ("Learning rate", f"{c['lr']:g}".replace(".", ",")),
        ("Weight decay", f"{c['weight_decay']:g}".replace(".", ",")),
        ("Fungsi loss", "BCEWithLogitsLoss"),
        ("Normalisasi citra", "(x/255 − 0,5)/0,5"),
        ("Augmentasi", ", ".join(c["augment"]) or "tidak ada"),
        ("Parameter jaringan", number(result["run"]["parameters"], 0)),
    ]
    show_table(pd.DataFrame(rows, columns=["Pengaturan", "Nilai"]), id, "Resep pelatihan mata kuliah, yang menjadi pembanding.")


# --- adaptation -----------------------------------------------------------------------------------------------------

REDUCE_NAMES = {"mean": "rata-rata", "sum": "jumlah", "luminance": "luminans"}
RESIZE_NAMES = {
    "bilinear": "bilinear",
    "bilinear_antialias": "bilinear *antialias*",
    "bicubic": "bikubik",
    "area": "rata-rata area",
    "crop": "potong tengah",
    "pinv": "*pseudo-inverse*",
}
SCALE_NAMES = {"none": "tanpa", "dc": "tanggapan rata", "norm": "norma"}


def read_changes(result: dict) -> str:
    """What was changed in the network for these images, as a list."""
    original, _, ours = result["architectures"]
    size, channels = result["provenance"]["data"]["size"], ours["stages"]["conv1"]["output"].split("×")[0]
    kept = ours["stages"]["maxpool"]["output"] == ours["stages"]["conv1"]["output"]
    lines = [
        f"Citra di sini berukuran {size}×{size} piksel dengan satu kanal, dan jawabannya satu: kelas mana dari dua. Yang diubah:",
        "",
    ]
    if kept:
        lines += [
            f"1. **Lapisan pertama.** Konvolusi 7×7 berlangkah 2 atas tiga kanal menjadi konvolusi 3×3 berlangkah 1 atas satu kanal, tetap dengan "
            f"{channels} kernel. Kernel RGB dirata-ratakan antarkanal, lalu diinterpolasi bilinear dari 7×7 ke 3×3.",
            "2. **Max-pooling** sesudahnya ditiadakan, agar citra sekecil ini tidak segera kehilangan rincian ruangnya.",
        ]
    else:
        lines += [
            "1. **Lapisan pertama** tetap konvolusi 7×7 berlangkah 2, tetapi atas satu kanal: kernel RGB dirata-ratakan antarkanal.",
            "2. **Max-pooling** dipertahankan, karena citra sebesar ini masih menyisakan petak yang cukup sesudahnya.",
        ]
    outputs = number(int(original["stages"]["fc"]["output"]), 0)
    return "\n".join([*lines, f"3. **Lapisan terakhir** menghasilkan satu *logit* sebagai ganti {outputs} kelas."])


def show_architecture(result: dict, id: str = "tbl-arsitektur") -> None:
    """Parameters, multiply-adds and output shape after each stage of the networks side by side."""
    networks = result["architectures"]
    rows = [(f"`{stage}`", *(n["stages"][stage]["output"] for n in networks)) for stage in networks[0]["stages"]]
    rows.append(("Parameter", *(number(n["parameters"], 0) for n in networks)))
    rows.append(("Kali-tambah per citra (juta)", *(number(n["multiply_adds"] / 1e6, 1) for n in networks)))
    size = result["provenance"]["data"]["size"]
    show_table(
        pd.DataFrame(rows, columns=["Tahap", *(n["title"] for n in networks)]),
        id,
        f"Bentuk keluaran setiap tahap (kanal×tinggi×lebar) untuk citra {size}×{size} piksel, banyaknya parameter, dan banyaknya operasi "
        "kali-tambah pada konvolusi dan lapisan linear.",
        align="l" + "r" * len(networks),
    )


def read_architecture(result: dict) -> str:
    """What removing the max-pool costs."""
    _, pooled, ours = result["architectures"]
    ratio = ours["multiply_adds"] / pooled["multiply_adds"]
    if ratio == 1:
        return "*Max-pooling* dipertahankan, sehingga pekerjaan setiap tahap sama dengan pada batang aslinya."
    return (
        f"Meniadakan *max-pooling* tidak menambah parameter, tetapi menambah pekerjaan {number(ratio, 1)} kali lipat, karena setiap tahap "
        "mengolah petak yang sisi-sisinya dua kali lebih panjang."
    )


def show_kernels(result: dict, id: str = "fig-kernel") -> None:
    """The kernels of the first layer before and after adaptation."""
    before, after = np.array(result["kernels"]["before"]), np.array(result["kernels"]["after"])
    show_figure(
        plots.kernels(before, after),
        id,
        f"Kernel lapisan pertama sebelum dan sesudah adaptasi cara mata kuliah. Kernel asal: {escape(result['kernels']['source'])}.",
        f"Dua mosaik dari {len(before)} kernel: berwarna {before.shape[-1]}×{before.shape[-1]} di atas, keabuan "
        f"{after.shape[-1]}×{after.shape[-1]} di bawah; merah berarti positif dan biru negatif.",
    )


def show_strategies(result: dict, id: str = "tbl-strategi") -> None:
    """How well each way of adapting keeps the response of the original stem."""
    rows = [
        (
            f"{REDUCE_NAMES[s['reduce']]}, {RESIZE_NAMES[s['resize']]}, {SCALE_NAMES[s['scale']]}",
            number(s["correlation"]),
            number(s["gain"]),
            number(s["error"]),
            number(s["error_bn"]),
        )
        for s in result["strategies"]
    ]
    rows[0] = (f"**{rows[0][0]}** (mata kuliah)", *rows[0][1:])
    same_size = len(result["kernels"]["before"][0][0]) == len(result["kernels"]["after"][0][0])
    enlarged = "" if same_size else "diperbesar dua kali, "
    show_table(
        pd.DataFrame(rows, columns=["Kanal, ukuran, skala", "Korelasi", "Perbandingan skala", "Galat", "Galat sesudah BN"]),
        id,
        f"Tanggapan lapisan pertama yang diadaptasi terhadap tanggapan kernel asal, pada {number(result['n_images'], 0)} citra latih. Citra untuk "
        f"kernel asal {enlarged}disalin ke tiga kanal, dan dinormalisasi seperti ImageNet. Korelasi dan perbandingan skala paling baik "
        "pada 1; galat nisbi paling baik pada 0. BN: *batch normalization* dengan statistik batch.",
    )


def read_strategies(result: dict) -> str:
    """Which strategy keeps most, and where the course's stands."""
    course = result["strategies"][0]
    best = max(result["strategies"], key=lambda s: s["correlation"])
    name = f"{REDUCE_NAMES[best['reduce']]}, {RESIZE_NAMES[best['resize']]}, skala {SCALE_NAMES[best['scale']]}"
    text = f"Cara mata kuliah mempertahankan tanggapan dengan korelasi {number(course['correlation'])}; yang terbaik dari cara yang dicoba adalah {name} ({number(best['correlation'])}). "
    if result["provenance"]["weights"]["kind"] != "imagenet":
        text += (
            f"Kernel asal di sini bukan hasil ImageNet ({escape(result['kernels']['source'])}), sehingga tabel ini memperlihatkan perilaku "
            "aritmetika adaptasi, bukan seberapa banyak pengetahuan ImageNet yang bertahan; untuk itu diperlukan bobot ImageNet."
        )
    return text


def show_drift(result: dict, id: str = "fig-pergeseran") -> None:
    """The drift of the BatchNorm statistics by layer."""
    layers = result["batch_norm"]["drift"]
    show_figure(
        plots.drift([d["layer"] for d in layers], np.array([d["shift"] for d in layers]), np.array([d["scale"] for d in layers])),
        id,
        "Jarak statistik citra latih dari statistik yang tersimpan di setiap lapisan *batch normalization* tepat setelah adaptasi: pergeseran "
        "rata-rata dalam simpangan baku tersimpan (0: tidak bergeser) dan perbandingan simpangan baku (1: sama), median antarkanal.",
        f"Dua grafik menurut lapisan; lapisan pertama bergeser {number(layers[0]['shift'], 2)} simpangan baku dengan perbandingan simpangan baku "
        f"{number(layers[0]['scale'], 2)}.",
    )


def read_drift(result: dict) -> str:
    """How far the first BatchNorm drifts, and what re-estimating all of them on unlabelled images repairs."""
    b, first = result["batch_norm"], result["batch_norm"]["drift"][0]
    text = (
        f"Tepat setelah adaptasi, tanggapan lapisan pertama pada citra latih bergeser {number(first['shift'], 2)} simpangan baku dari statistik "
        f"*batch normalization* yang tersimpan, dan simpangan bakunya {number(first['scale'], 2)} kali yang tersimpan. Menaksir ulang statistik semua "
        "lapisan pada citra latih tanpa label [@li2017] mengubah akurasi validasi regresi logistik atas fitur beku dari "
        f"{sure('acc', b['before'])} menjadi {sure('acc', b['after'])}"
    )
    (low, high), (low_after, high_after) = b["before"]["ci95"], b["after"]["ci95"]
    if low_after > high:
        return text + "; perbaikannya melampaui ketidakpastian kedua angka itu."
    if high_after < low:
        return text + "; di sini penaksiran ulang justru merugikan."
    return text + "; intervalnya bertumpang tindih, jadi perbaikan itu belum dapat dipastikan dari data sebanyak ini."


def show_starts(result: dict, id: str = "tbl-awal") -> None:
    """Accuracy after one and after all epochs from each start."""
    rows = []
    for s in result["starts"]:
        change = s["difference"]
        rows.append(
            (
                escape(s["title"]),
                *metric("acc", s["first"]),
                *metric("acc", s["test"]["acc"]),
                *(("–", "–") if change is None else (points(change["acc"]["value"]), interval(change["acc"]["ci95"]))),
            )
        )
    first = result["starts"][0]
    show_table(
        pd.DataFrame(rows, columns=["Bobot awal", "Validasi, epoch 1", "IK 95%", "Uji, akhir", "IK 95% ", "Selisih", "IK 95%  "]),
        id,
        f"Akurasi resep mata kuliah dari setiap bobot awal: pada data validasi setelah satu epoch dan pada data uji setelah {number(first['epochs'], 0)} "
        f"epoch, dengan {number(first['n_train'], 0)} citra latih dan {number(len(first['seeds']), 0)} seed. Selisih (poin persen) terhadap bobot acak, "
        "berpasangan pada citra uji yang sama.",
    )


def read_starts(result: dict) -> str:
    """Whether any start is better than a random one."""
    others = result["starts"][1:]
    better = [s["title"] for s in others if s["difference"]["acc"]["ci95"][0] > 0]
    worse = [s["title"] for s in others if s["difference"]["acc"]["ci95"][1] < 0]
    parts = []
    if better:
        parts.append(f"Terbukti lebih baik daripada bobot acak: {join([escape(t) for t in better])}.")
    if worse:
        parts.append(f"Terbukti lebih buruk daripada bobot acak: {join([escape(t) for t in worse])}.")
    if not parts:
        return (
            "Tidak satu pun bobot awal di sini terbedakan dari bobot acak pada data uji: interval setiap selisih memuat nol. Yang diadaptasi "
            "baru lapisan pertama bila sumbernya bank Gabor; pengetahuan di lapisan-lapisan berikutnya hanya ada pada bobot terlatih."
            if any("Gabor" in s["title"] for s in others)
            else "Tidak satu pun bobot awal di sini terbedakan dari bobot acak pada data uji: interval setiap selisih memuat nol."
        )
    return " ".join(parts)


# --- training -------------------------------------------------------------------------------------------------------


def read_history(result: dict) -> str:
    """What the training history says: where both losses go and where validation turns."""
    table = pd.DataFrame(result["history"])
    first, last, best = table.iloc[0], table.iloc[-1], table.iloc[table.val_loss.argmin()]
    chosen, validation = table.iloc[result["best_epoch"] - 1], result["validation"]
    text = (
        f"Selama {number(len(table), 0)} epoch, *loss* latih bergerak dari {number(first.train_loss)} ke {number(last.train_loss)} dan "
        f"akurasi latih dari {percent(first.train_acc)} ke {percent(last.train_acc)}. "
        f"*Loss* validasi terendah, {number(best.val_loss)}, tercapai pada epoch {number(best.epoch, 0)}"
    )
    if best.epoch < last.epoch:
        rise = last.val_loss - best.val_loss
        text += (
            f", lalu naik {number(rise)} hingga epoch terakhir ({number(last.val_loss)}): sejak epoch itu jaringan makin cocok dengan "
            "data latih tanpa menjadi lebih baik pada data yang belum dilihatnya."
        )
    else:
        text += ", yakni epoch terakhir: pada panjang pelatihan ini *loss* validasi belum berbalik naik."
    return text + (
        f" Epoch yang terpilih adalah epoch {number(chosen.epoch, 0)}, dengan AUC validasi tertinggi ({number(validation['auc']['value'])}, "
        f"IK 95% {interval(validation['auc']['ci95'], 3, 1)}) dan akurasi validasi {percent(validation['acc']['value'])} "
        f"(IK 95% {interval(validation['acc']['ci95'])}; tebakan mayoritas {percent(result['majority']['val'])})."
    )


def show_history(result: dict, id: str = "fig-riwayat") -> None:
    """The figure of loss and accuracy by epoch."""
    origin, table = result["provenance"], pd.DataFrame(result["history"])
    n = {split: sum(origin["data"]["counts"][split].values()) for split in SPLIT_NAMES}
    show_figure(
        plots.history(table, result["best_epoch"], result["majority"]["val"]),
        id,
        f"Riwayat pelatihan, seed {origin['seed']}: *loss* (kiri) dan akurasi (kanan) pada {number(n['train'], 0)} citra latih dan "
        f"{number(n['val'], 0)} citra validasi. Akurasi latih dicatat selama pelatihan berlangsung, seperti pada mata kuliah.",
        f"Dua grafik garis menurut epoch. Loss latih berakhir pada {number(table.train_loss.iloc[-1])} dan loss validasi pada "
        f"{number(table.val_loss.iloc[-1])}; akurasi latih berakhir pada {percent(table.train_acc.iloc[-1])} dan akurasi validasi "
        f"pada {percent(table.val_acc.iloc[-1])}.",
    )


def show_predictions(result: dict, id: str = "fig-prediksi") -> None:
    """Ten validation images with prediction, probability and label."""
    shown, names = result["val_examples"], result["provenance"]["data"]["class_names"]
    labels, p = np.array(shown["labels"]), np.array(shown["probability"])
    wrong = int(((p > 0.5) != (labels == 1)).sum())
    show_figure(
        plots.predictions(np.array(shown["images"], np.uint8), labels, p, names),
        id,
        f"{number(len(p), 0)} citra validasi pertama: kelas yang diprediksi, probabilitasnya, dan labelnya. "
        "Bingkai merah dan tanda ✗ berarti prediksi berbeda dari label.",
        f"{len(p)} citra kecil dengan prediksi di atas dan label di bawahnya; {wrong} di antaranya diprediksi salah.",
    )


def show_test(result: dict, id: str = "tbl-uji") -> None:
    """The test metrics of the chosen and of the last epoch with their intervals."""
    rows = []
    for name, label in METRIC_NAMES.items():
        cells = []
        for which in ("test", "test_last"):
            cells += metric(name, result[which][name])
        rows.append((label, *cells))
    show_table(
        pd.DataFrame(rows, columns=["Metrik", "Epoch terpilih", "IK 95%", "Epoch terakhir", "IK 95% "]),
        id,
        f"Hasil pada {number(result['test']['n'], 0)} citra uji, dibuka sekali setelah semua pilihan ditetapkan: epoch "
        f"{result['best_epoch']} (dipilih oleh AUC validasi) dan epoch terakhir. Selalu menebak kelas terbanyak memberi akurasi "
        f"{percent(result['test']['majority'])}. Sensitivitas dan spesifisitas dihitung dengan "
        f"{escape(result['provenance']['data']['class_names'][1])} sebagai kelas positif; persentase dan IK-nya dalam persen.",
    )


def read_test(result: dict) -> str:
    """The honest headline: test accuracy beside the majority guess, and how sure."""
    test = result["test"]
    low = test["acc"]["ci95"][0]
    beats = low > test["majority"]
    text = (
        f"Pada data uji, akurasi epoch terpilih adalah {sure('acc', test['acc'])} dan AUC {sure('auc', test['auc'])}. "
        f"Tebakan mayoritas mencapai {percent(test['majority'])}; "
    )
    return text + (
        "seluruh interval kepercayaan berada di atasnya, jadi jaringan memang belajar lebih dari sekadar perbandingan kelas."
        if beats
        else "interval kepercayaan belum seluruhnya berada di atasnya, jadi dari data sebanyak ini keunggulan atas tebakan mayoritas "
        "belum dapat dipastikan."
    )


def show_confusion(result: dict, id: str = "fig-kebingungan") -> None:
    """The confusion matrix of the test split at the chosen epoch."""
    names, counts = result["provenance"]["data"]["class_names"], result["confusion"]
    show_figure(
        plots.confusion(counts, names),
        id,
        "Matriks kebingungan pada data uji (epoch terpilih): banyaknya citra dan bagiannya dari setiap baris label.",
        f"Matriks dua kali dua. Dari {sum(counts[0])} citra berlabel {names[0]}, {counts[0][0]} diprediksi benar; dari "
        f"{sum(counts[1])} citra berlabel {names[1]}, {counts[1][1]} diprediksi benar.",
        width="50%",
    )


def show_roc(result: dict, id: str = "fig-roc") -> None:
    """ROC curve and confusion matrix on validation at the usual threshold."""
    r, names = result["roc"], result["provenance"]["data"]["class_names"]
    (tn, fp), (fn, tp) = r["confusion"]
    point = (fp / (tn + fp), tp / (fn + tp))
    show_figure(
        plots.roc(np.array(r["false_positive"]), np.array(r["true_positive"]), point, r["confusion"], names, r["auc"]),
        id,
        "Kurva ROC pada data validasi (epoch terpilih) dan matriks kebingungan pada ambang probabilitas 0,5. Menggeser ambang berarti berjalan di "
        "sepanjang kurva; ambang lain hanya boleh dipilih pada data validasi, sebelum data uji dibuka.",
        f"Kurva ROC dengan AUC {number(r['auc'])}; pada ambang 0,5 sensitivitasnya {percent(point[1])} dan spesifisitasnya {percent(1 - point[0])}.",
    )


def show_leakage(result: dict, id: str = "fig-kebocoran") -> None:
    """The lesson on leakage: test accuracy by epoch, and which epoch either protocol would choose."""
    lesson = result["leakage"]
    show_figure(
        plots.leakage(list(range(1, len(lesson["test_acc"]) + 1)), lesson["test_acc"], lesson["honest"], lesson["course"]),
        id,
        "Akurasi uji setelah setiap epoch, direkam hanya untuk pelajaran ini. Memilih epoch dengan melihat data uji (bintang) selalu memberi "
        "angka yang sama atau lebih tinggi daripada memilih epoch berakurasi validasi tertinggi (belah ketupat).",
        f"Grafik akurasi uji per epoch; epoch {lesson['honest'][0]} dipilih oleh validasi, epoch {lesson['course'][0]} oleh data uji.",
        width="72%",
    )


def read_leakage(result: dict) -> str:
    """How much the course's protocol (test used as validation) flatters this very run."""
    lesson = result["leakage"]
    flattery = lesson["course"][1] - lesson["honest"][1]
    text = (
        f"Protokol mata kuliah memakai bagian `test` sebagai “validasi” dan melaporkan nilai terbaiknya: di sini {percent(lesson['course'][1])} "
        f"(IK 95% {interval(lesson['course_ci95'])}) pada epoch {lesson['course'][0]}. Protokol yang jujur, dengan aturan yang sama, memilih epoch {lesson['honest'][0]} menurut akurasi validasi dan mendapat "
        f"{percent(lesson['honest'][1])} (IK 95% {interval(lesson['honest_ci95'])}). "
    )
    if flattery > 0:
        return text + (
            f"Selisih {points(flattery)} poin persen (IK 95% berpasangan {interval(lesson['flattery_ci95'])}) itu bukan kemampuan jaringan, melainkan upah mengintip: pilihan telah disesuaikan "
            "dengan data yang seharusnya menilainya [@kaufman2012]."
        )
    return text + (
        "Pada pelatihan ini keduanya kebetulan sama, tetapi protokol mata kuliah tidak pernah dapat memberi nilai yang lebih rendah: "
        "itulah sebabnya nilainya tidak dapat dipercaya sebagai taksiran [@kaufman2012]."
    )


def read_cost(result: dict) -> str:
    """Time and memory of the run."""
    run, device = result["run"], result["provenance"]["device"]["name"]
    return (
        f"Pelatihan ini memakan waktu {duration(run['seconds'])} pada {escape(device)} ({number(run['images_per_second'], 0)} citra per detik, "
        f"termasuk evaluasi setiap epoch) dengan memori puncak {number(run['peak_memory_mb'] / 1024, 1)} GiB. Hasilnya tersimpan dengan kunci "
        f"`{run['key']}`; menjalankan notebook lagi dengan pengaturan yang sama membacanya tanpa melatih ulang."
    )


# --- overfitting ----------------------------------------------------------------------------------------------------


def _band(estimates: list[dict], scale: float = 1) -> plots.Band:
    """(values, low, high) of estimates, for a curve with its interval."""
    return tuple([scale * each for each in column] for column in zip(*((e["value"], *e["ci95"]) for e in estimates), strict=True))


def _over_seeds(result: dict) -> str:
    seeds = result["provenance"]["preset"]["seeds"]
    return "" if seeds == 1 else f", rata-rata {number(seeds, 0)} seed"


def show_gap(result: dict, id: str = "fig-kesenjangan") -> None:
    """Loss of both splits and the gap in accuracy by epoch, with intervals."""
    rows = result["epochs"]
    last = rows[-1]
    losses = {name: _band([r[f"{split}_loss"] for r in rows]) for split, name in (("train", "latih"), ("val", "validasi"))}
    gap = {"latih − validasi": _band([r["gap"] for r in rows], 100)}
    show_figure(
        plots.gap(
            [r["epoch"] for r in rows],
            {"Loss (BCE)": losses, "Kesenjangan akurasi (poin persen)": gap},
            result["turn"]["epoch"],
        ),
        id,
        f"*Loss* latih dan validasi (kiri) dan kesenjangan akurasi, latih dikurangi validasi (kanan), menurut epoch{_over_seeds(result)}, dengan interval "
        "kepercayaan 95%. Garis titik-titik: epoch dengan *loss* validasi terendah.",
        f"Dua grafik garis; pada epoch {last['epoch']} kesenjangan akurasinya {number(100 * last['gap']['value'], 1)} poin persen.",
    )


def read_gap(result: dict) -> str:
    """How large the gap is at the last epoch and whether it is clear of zero."""
    last = result["epochs"][-1]["gap"]
    low, high = last["ci95"]
    size = f"{number(100 * last['value'], 1)} poin persen (IK 95% {interval(last['ci95'])})"
    if low > 0:
        verdict = "seluruh intervalnya di atas nol, jadi *overfitting* itu nyata dan bukan kebetulan pengambilan sampel"
    elif high < 0:
        verdict = "akurasi validasi justru lebih tinggi daripada akurasi latih"
    else:
        verdict = "intervalnya memuat nol, jadi dari data sebanyak ini *overfitting* belum dapat dipastikan"
    return f"Pada epoch terakhir kesenjangan antara akurasi latih dan akurasi validasi adalah {size}; {verdict}."


def read_turn(result: dict) -> str:
    """Where validation loss turns and how much it rises."""
    t = result["turn"]
    lowest = f"*Loss* validasi paling rendah pada epoch {number(t['epoch'], 0)} dari {number(t['epochs'], 0)}"
    if len(t["each_seed"]) > 1:
        lowest += f" (menurut seed: epoch {join([str(e) for e in t['each_seed']])})"
    if t["epoch"] == t["epochs"]:
        return f"{lowest}: selama pelatihan ini ia belum berbalik naik."
    rise = f"{number(t['rise']['value'])} (IK 95% {interval(t['rise']['ci95'], 3, 1)})"
    if t["rise"]["ci95"][0] > 0:
        return (
            f"{lowest}, lalu naik {rise} hingga epoch terakhir. Kenaikan itu melampaui ketidakpastiannya: sejak epoch tersebut jaringan makin "
            "yakin pada jawaban yang salah, meskipun akurasinya belum tentu turun."
        )
    return f"{lowest}; kenaikan sesudahnya, {rise}, belum dapat dibedakan dari nol."


RULES = {"last": "epoch terakhir", "loss": "*loss* validasi", "auc": "AUC validasi"}


def show_selection(result: dict, id: str = "tbl-pemilihan") -> None:
    """What each rule of choosing the epoch gives on the test split."""
    rows = []
    for rule in result["selection"]:
        change = rule["difference"]
        rows.append(
            (
                RULES[rule["rule"]],
                join([str(epoch) for epoch in rule["epochs"]]),
                *metric("acc", rule["acc"]),
                *metric("auc", rule["auc"]),
                *(("–", "–") if change is None else (points(change["acc"]["value"]), interval(change["acc"]["ci95"]))),
            )
        )
    show_table(
        pd.DataFrame(
            rows, columns=["Dipilih menurut", "Epoch", "Akurasi uji", "IK 95%", "AUC uji", "IK 95% ", "Selisih", "IK 95%  "]
        ),
        id,
        f"Hasil uji menurut aturan pemilihan epoch{_over_seeds(result)}. Selisih akurasi (poin persen) terhadap epoch terakhir, berpasangan pada citra uji yang sama.",
    )


def read_selection(result: dict) -> str:
    """Whether the rule matters."""
    others = [rule for rule in result["selection"] if rule["difference"]]
    clear = [r for r in others if r["difference"]["acc"]["ci95"][0] > 0 or r["difference"]["acc"]["ci95"][1] < 0]
    if not clear:
        return (
            "Memilih epoch menurut *loss* atau AUC validasi tidak terbedakan dari memakai epoch terakhir: interval kedua selisih akurasinya "
            "memuat nol. Yang berbeda adalah keyakinannya, seperti tampak pada bagian kalibrasi."
        )
    return " ".join(
        f"Memilih epoch menurut {RULES[r['rule']]} mengubah akurasi uji sebesar {points(r['difference']['acc']['value'])} poin persen "
        f"(IK 95% {interval(r['difference']['acc']['ci95'])})."
        for r in clear
    )


def show_learning_curve(result: dict, id: str = "fig-belajar") -> None:
    """Accuracy over the number of training images."""
    rows = result["learning_curve"]
    show_figure(
        plots.against_size(
            [r["n"] for r in rows],
            {name: _band([r[key] for r in rows]) for key, name in (("train_acc", "latih"), ("val_acc", "validasi"))},
        ),
        id,
        "Kurva belajar: akurasi latih dan validasi setelah epoch terakhir menurut banyaknya citra latih, dengan interval kepercayaan 95%. "
        "Citra validasinya selalu sama. Jarak kedua kurva adalah kesenjangan.",
        "Dua kurva menurut banyaknya citra latih; "
        + "; ".join(
            f"{number(r['n'], 0)} citra: latih {percent(r['train_acc']['value'])}, validasi {percent(r['val_acc']['value'])}"
            for r in rows
        )
        + ".",
        width="72%",
    )


def read_learning_curve(result: dict) -> str:
    """What more data gave, and whether that is more than chance."""
    first, last = result["learning_curve"][0], result["learning_curve"][-1]
    text = (
        f"Dari {number(first['n'], 0)} ke {number(last['n'], 0)} citra latih, akurasi validasi bergerak dari {sure('acc', first['val_acc'])} ke "
        f"{sure('acc', last['val_acc'])} dan kesenjangannya dari {number(100 * first['gap']['value'], 1)} ke {number(100 * last['gap']['value'], 1)} poin persen. "
    )
    if last["val_acc"]["ci95"][0] > first["val_acc"]["ci95"][1]:
        return (
            text
            + "Kedua interval akurasi validasi terpisah: tambahan data memang membantu, dan kurvanya menunjukkan apakah masih menanjak."
        )
    return (
        text
        + "Kedua interval akurasi validasi bertumpang tindih, jadi manfaat tambahan data belum dapat dipastikan pada ukuran ini."
    )


def show_confidence(result: dict, id: str = "fig-keyakinan") -> None:
    """Histogram of the confidence of right and wrong validation predictions."""
    c = result["confidence"]
    show_figure(
        plots.confidence(np.array(c["right"]), np.array(c["wrong"])),
        id,
        f"Probabilitas kelas yang diprediksi pada {number(len(c['right']) + len(c['wrong']), 0)} citra validasi (epoch terakhir), "
        "untuk prediksi yang benar dan yang salah.",
        f"Histogram bertumpuk; {percent(c['above_90']['value'])} prediksi memiliki probabilitas di atas 0,9.",
        width="72%",
    )


def read_confidence(result: dict) -> str:
    """Sure predictions, and the calibration error."""
    return f"{_sure_predictions(result)} {_calibration_error(result)}."


def _sure_predictions(result: dict) -> str:
    c = result["confidence"]
    text = f"Sebanyak {percent(c['above_90']['value'])} prediksi validasi (IK 95% {interval(c['above_90']['ci95'])}) memiliki probabilitas di atas 0,9"
    if not c["above_90"]["value"]:
        return text + "."
    return (
        text
        + f"; di antara prediksi seyakin itu, {number(c['confident_errors'], 0)} salah ({percent(c['confident_error_share']['value'])}, IK 95% {interval(c['confident_error_share']['ci95'])})."
    )


def _calibration_error(result: dict) -> str:
    ece = result["confidence"]["ece"]
    return f"Galat kalibrasi (ECE) adalah {number(ece['value'])} (IK 95% {interval(ece['ci95'], 3, 1)})"


def show_reliability(result: dict, id: str = "fig-kalibrasi") -> None:
    """Reliability diagrams on the test split before and after temperature scaling."""
    t = result["temperature"]
    tables = {
        "Sebelum penskalaan suhu": pd.DataFrame(t["reliability_before"]),
        "Sesudah penskalaan suhu": pd.DataFrame(t["reliability_after"]),
    }
    show_figure(
        plots.reliability(tables),
        id,
        "Diagram keandalan pada data uji (epoch terakhir), sebelum dan sesudah penskalaan suhu: bagian prediksi yang benar terhadap probabilitas "
        "rata-rata setiap kelompok. Titik di bawah garis putus-putus berarti jaringan terlalu yakin.",
        "Dua diagram titik dengan interval; titik di bawah diagonal menunjukkan keyakinan yang berlebihan.",
    )


def read_temperature(result: dict) -> str:
    """What temperature scaling does to calibration error and loss on the test split."""
    t = result["temperature"]
    change = t["difference"]["ece"]
    low, high = change["ci95"]
    text = (
        f"Suhu yang dipilih data validasi adalah {number(t['temperature'], 2)}"
        f" ({'di atas 1: keyakinan dikurangi' if t['temperature'] > 1 else 'tidak di atas 1: keyakinan tidak dikurangi'}) [@guo2017]. Pada data uji ECE bergerak "
        f"dari {sure('ece', t['before']['ece'])} ke {sure('ece', t['after']['ece'])} dan *loss* dari {number(t['before']['loss']['value'])} ke "
        f"{number(t['after']['loss']['value'])}; akurasi tidak berubah, karena tanda *logit* tetap. "
    )
    if high < 0:
        return text + f"Perbaikan ECE itu ({number(change['value'])}, IK 95% {interval(change['ci95'], 3, 1)}) jelas dari nol."
    if low > 0:
        return text + f"ECE justru memburuk ({number(change['value'])}, IK 95% {interval(change['ci95'], 3, 1)})."
    return (
        text
        + f"Perubahan ECE itu ({number(change['value'])}, IK 95% {interval(change['ci95'], 3, 1)}) belum terbedakan dari nol."
    )


def show_confident_errors(result: dict, id: str = "fig-salah-yakin") -> None:
    """The wrong predictions of highest confidence, with what the truth says of them."""
    shown, names = result["confident_errors"], result["provenance"]["data"]["class_names"]
    if not len(shown["labels"]):
        return
    known = shown["n_flipped"] is not None
    show_figure(
        plots.predictions(
            np.array(shown["images"], np.uint8),
            np.array(shown["labels"]),
            np.array(shown["probability"]),
            names,
            shown["remarks"],
        ),
        id,
        f"{number(len(shown['labels']), 0)} prediksi salah yang paling yakin pada data validasi (epoch terakhir)"
        + (". Baris terbawah: apa yang diketahui fantom tentang citra itu." if known else "."),
        "Galeri citra dengan prediksi, keyakinan, dan label: "
        + "; ".join(
            f"{names[int(p > 0.5)]}, label {names[y]}{', ' + ' '.join(r.split()) if r else ''}"
            for p, y, r in zip(shown["probability"], shown["labels"], shown["remarks"], strict=True)
        )
        + ".",
    )


def read_confident_errors(result: dict) -> str:
    """How many of the confident errors are errors of the label."""
    shown = result["confident_errors"]
    if not shown["n"]:
        return "Tidak ada prediksi salah dengan keyakinan di atas 0,9."
    if shown["n_flipped"] is None:
        return (
            f"Ada {number(shown['n'], 0)} prediksi salah dengan keyakinan di atas 0,9. Sumber data ini tidak menyimpan kebenaran di balik label, jadi "
            "tidak dapat dikatakan berapa di antaranya kesalahan label."
        )
    return (
        f"Dari {number(shown['n'], 0)} prediksi salah dengan keyakinan di atas 0,9, {number(shown['n_flipped'], 0)} adalah citra yang labelnya sengaja "
        "dibalik: di situ jaringan benar dan labelnya yang salah. Kesalahan yang yakin karena itu patut diperiksa oleh manusia sebelum "
        "disebut kegagalan jaringan."
    )


def show_memorisation(result: dict, id: str = "fig-hafalan") -> None:
    """How fast correctly labelled and flipped training images are fitted (phantom only)."""
    m = result["memorisation"]
    rows = m["by_epoch"]
    show_figure(
        plots.memorisation(
            [row["epoch"] for row in rows],
            {
                name: _band([row[key] for row in rows])
                for key, name in (("correct", "label benar"), ("flipped", "label terbalik"))
            },
        ),
        id,
        f"Bagian citra latih yang prediksinya sesuai dengan label tertulis, menurut epoch: {number(m['n_correct'], 0)} citra berlabel benar dan "
        f"{number(m['n_flipped'], 0)} citra yang labelnya sengaja dibalik pada fantom. Pita: interval kepercayaan 95%.",
        f"Dua kurva; pada epoch terakhir {percent(rows[-1]['correct']['value'])} label benar dan {percent(rows[-1]['flipped']['value'])} label "
        "terbalik dicocokkan.",
        width="72%",
    )


def read_memorisation(result: dict) -> str:
    """What fitting the flipped labels means."""
    m = result["memorisation"]
    if m is None:
        return "Sumber data ini tidak menyimpan kebenaran di balik label, jadi hafalan atas label yang salah tidak dapat diukur di sini."
    first, last = m["by_epoch"][0], m["by_epoch"][-1]
    text = (
        f"Label terbalik tidak dapat dipelajari dari anatomi; satu-satunya cara mencocokkannya ialah menghafal citranya. Bagian label terbalik "
        f"yang dicocokkan bergerak dari {sure('acc', first['flipped'])} pada epoch 1 ke {sure('acc', last['flipped'])} pada epoch terakhir, "
        f"sedangkan label benar dari {sure('acc', first['correct'])} ke {sure('acc', last['correct'])}. "
    )
    if last["flipped"]["ci95"][0] > first["flipped"]["ci95"][1]:
        return text + (
            "Hafalan itu nyata dan datang sesudah pola umum dipelajari, sejalan dengan temuan pada jaringan dan data lain [@arpit2017]."
        )
    return text + (
        "Pada pelatihan ini belum tampak bahwa hafalan menyusul pembelajaran, seperti yang ditemukan pada jaringan dan data lain [@arpit2017]."
    )


def show_attribution(result: dict, id: str = "fig-atribusi") -> None:
    """Attribution maps of right and wrong predictions."""
    shown, names = result["attribution"]["examples"], result["provenance"]["data"]["class_names"]
    p, labels = np.array(shown["probability"]), np.array(shown["labels"])
    right = (p > 0.5) == (labels == 1)
    titles = [f"{'✓' if ok else '✗'} {names[int(value > 0.5)]}" for ok, value in zip(right, p, strict=True)]
    outlines = shown["outlines"] and {name: np.array(masks, bool) for name, masks in shown["outlines"].items()}
    show_figure(
        plots.attributions(np.array(shown["images"], np.uint8), np.array(shown["maps"]), titles, right, outlines),
        id,
        "Peta atribusi (*integrated gradients*) jaringan epoch terpilih pada citra validasi yang diprediksi benar (✓) dan salah (✗). Merah: piksel "
        f"yang mendorong jawaban ke {escape(names[1])}; biru: ke {escape(names[0])}."
        + (" Garis: topeng kebenaran fantom." if outlines else ""),
        f"{len(p)} citra di atas dan peta atribusinya di bawah, {int(right.sum())} diprediksi benar dan {int((~right).sum())} salah.",
    )


REGION_NAMES = {"heart": "Jantung", "pneumothorax": "Pneumotoraks", "tube_mask": "Selang dada"}


def show_regions(result: dict, id: str = "tbl-atribusi") -> None:
    """Share of the attribution inside each region of the ground truth."""
    rows = [
        (
            REGION_NAMES[name],
            number(r["n"], 0),
            percent(r["share"]),
            percent(r["area"]),
            number(r["ratio"]["value"], 2),
            interval(r["ratio"]["ci95"], 2, 1),
        )
        for name, r in result["attribution"]["regions"].items()
        if r
    ]
    show_table(
        pd.DataFrame(rows, columns=["Daerah", "Citra", "Bagian atribusi", "Bagian luas", "Perbandingan", "IK 95%"]),
        id,
        f"Bagian besar atribusi yang jatuh di dalam topeng kebenaran, dari {number(result['attribution']['n'], 0)} citra validasi yang diambil acak; setiap baris "
        "memakai citra yang memiliki daerah itu. Perbandingan 1 berarti sama dengan menyebarkan atribusi secara merata.",
    )


def read_attribution(result: dict) -> str:
    """Where the network looks more than chance would."""
    a = result["attribution"]
    text = (
        f"Jumlah peta menyimpang rata-rata {percent(a['missing'])} dari selisih *logit* yang harus dijelaskannya, ukuran ketelitian integralnya "
        "[@sundararajan2017]. "
    )
    if a["regions"] is None:
        return (
            text + "Sumber data ini tidak memiliki topeng anatomi, jadi letak atribusi hanya dapat dilihat, tidak dapat dinilai."
        )
    groups: dict[str, list[str]] = {}
    for name, r in a["regions"].items():
        if r:
            low, high = r["ratio"]["ci95"]
            groups.setdefault("more" if low > 1 else "less" if high < 1 else "same", []).append(REGION_NAMES[name].lower())
    sentences = []
    for key, words in (
        ("more", "Jaringan memperhatikan {} lebih daripada luasnya."),
        ("less", "Jaringan memperhatikan {} kurang daripada luasnya."),
        ("same", "Perhatian pada {} tidak terbedakan dari sebaran merata."),
    ):
        if key in groups:
            sentences.append(words.format(join(groups[key])))
    return text + " ".join(sentences)


def show_tube(result: dict, id: str = "tbl-selang") -> None:
    """How often images with and without a tube are given class 1, by anatomy."""
    rows = [
        (
            "dengan pneumotoraks" if r["pneumothorax"] else "tanpa pneumotoraks",
            f"{number(r['n_with'], 0)} dan {number(r['n_without'], 0)}",
            percent(r["with"]["value"]),
            percent(r["without"]["value"]),
            points(r["difference"]["value"]),
            interval(r["difference"]["ci95"]),
        )
        for r in result["tube"]
    ]
    name = escape(result["provenance"]["data"]["class_names"][1])
    show_table(
        pd.DataFrame(rows, columns=["Anatomi", "Citra dengan dan tanpa selang", "Dengan", "Tanpa", "Selisih", "IK 95%"]),
        id,
        f"Bagian citra uji yang diprediksi {name} (epoch terpilih), dengan dan tanpa selang dada, menurut anatomi yang digambar fantom. Selisih dalam poin persen.",
    )


def read_tube(result: dict) -> str:
    """Is the tube a shortcut?"""
    if not result["tube"]:
        return "Pengaruh selang dada tidak dapat diukur dengan data ini."
    positive = [r for r in result["tube"] if r["difference"]["ci95"][0] > 0]
    if positive:
        return (
            "Pada anatomi yang sama, citra berselang lebih sering diprediksi positif dan selisihnya jelas dari nol: selang dada menjadi jalan "
            "pintas, seperti yang pernah ditemukan pada citra klinis [@oakdenrayner2020b]. Jaringan semacam itu akan melewatkan pasien yang "
            "belum dipasangi selang, justru pasien yang paling perlu ditemukan."
        )
    return (
        "Pada anatomi yang sama, perbedaan antara citra berselang dan tanpa selang tidak terbukti, jadi dari data sebanyak ini tidak dapat "
        "dikatakan bahwa selang dada menjadi jalan pintas [@oakdenrayner2020b]."
    )


def show_subgroups(result: dict, id: str = "tbl-kelompok") -> None:
    """Test accuracy in groups of the ground truth."""
    rows = [(f"{r['divides']}: {r['group']}", number(r["n"], 0), *metric("acc", r["acc"])) for r in result["subgroups"]]
    show_table(
        pd.DataFrame(rows, columns=["Kelompok", "Citra", "Akurasi", "IK 95%"]),
        id,
        "Akurasi uji (epoch terpilih) menurut kebenaran fantom. Citra berlabel terbalik hanya dihitung pada dua baris terakhir; akurasinya di sana "
        "terhadap label tertulis.",
    )


def read_subgroups(result: dict) -> str:
    """The group that fares worst, and whether its interval is apart from the best one of the same division."""
    rows = result["subgroups"]
    if rows is None:
        return "Sumber data ini tidak menyimpan anatomi setiap citra, jadi kinerja menurut kelompok tidak dapat diukur."
    apart = []
    for divides in dict.fromkeys(r["divides"] for r in rows if r["divides"] != "Label"):
        same = sorted((r for r in rows if r["divides"] == divides), key=lambda r: r["acc"]["value"])
        if same[0]["acc"]["ci95"][1] < same[-1]["acc"]["ci95"][0]:
            apart.append(
                f"{divides.lower()} {same[0]['group']} ({percent(same[0]['acc']['value'])}) lebih sering salah daripada {same[-1]['group']} "
                f"({percent(same[-1]['acc']['value'])})"
            )
    if not apart:
        return "Tidak ada dua kelompok dari pembagi yang sama yang intervalnya terpisah; perbedaan yang tampak dapat berupa kebetulan."
    return f"Yang intervalnya terpisah: {'; '.join(apart)}. Akurasi keseluruhan menyembunyikan perbedaan seperti ini."


def show_claims(result: dict, id: str = "tbl-klaim") -> None:
    """The ledger: each claim of the course's report, what was measured here, and the verdict."""
    rows = [(c["claim"], c["measured"], c["verdict"]) for c in result["claims"]]
    show_table(
        pd.DataFrame(rows, columns=["Klaim laporan mata kuliah", "Terukur di sini", "Putusan"]),
        id,
        f"Klaim-klaim laporan mata kuliah dan nilai yang terukur di sini dengan resep yang sama selama {number(len(result['epochs']), 0)} epoch pada "
        f"{number(sum(result['provenance']['data']['counts']['train'].values()), 0)} citra latih. Putusan dihitung dari interval kepercayaan, bukan ditulis. "
        f"Sumber data: {escape(result['provenance']['data']['title'])}.",
    )


# --- remedies -------------------------------------------------------------------------------------------------------


def show_remedies(result: dict, id: str = "tbl-perbaikan") -> None:
    """One row a remedy: gap, test metrics, paired difference from the baseline and verdict."""
    rows = []
    for v in result["variants"]:
        difference = v["difference"]
        rows.append(
            (
                v["title"],
                points(v["gap"]["value"]),
                *(metric(name, v["test"][name])[0] for name in ("acc", "balanced_acc", "auc", "ece")),
                *(
                    ("–", "–")
                    if difference is None
                    else (points(difference["acc"]["value"]), interval(difference["acc"]["ci95"]))
                ),
                v["verdict"],
            )
        )
    first = result["variants"][0]
    show_table(
        pd.DataFrame(
            rows,
            columns=[
                "Perbaikan",
                "Kesenjangan",
                "Akurasi",
                "Seimbang",
                "AUC",
                "ECE",
                "Selisih",
                "IK 95%",
                "Putusan",
            ],
        ),
        id,
        f"Hasil pada {number(first['test']['n'], 0)} citra uji setelah {number(first['epochs'], 0)} epoch dengan {number(first['n_train'], 0)} citra "
        f"latih dan {number(len(first['seeds']), 0)} seed (preset {result['provenance']['preset']['name']}). Kesenjangan dan selisih dalam poin "
        "persen; Seimbang: akurasi seimbang. Selisih akurasi terhadap pembanding dihitung berpasangan pada citra yang sama, dan putusan memakai koreksi Holm.",
    )


def show_remedy_details(result: dict, id: str = "tbl-rincian") -> None:
    """What each row changed, and what it took: images, seeds, time and trained parameters."""

    def written(changed: dict) -> str:
        return (
            ", ".join(f"`{name}={'+'.join(value) if isinstance(value, list) else value}`" for name, value in changed.items())
            or "–"
        )

    rows = [
        (
            v["title"],
            written(v["changed"]),
            number(v["n_train"], 0),
            number(len(v["seeds"]), 0),
            number(v["trained_parameters"], 0),
            duration(v["seconds"]),
        )
        for v in result["variants"]
    ]
    show_table(
        pd.DataFrame(
            rows, columns=["Perbaikan", "Pengaturan yang diubah", "Citra latih", "Pelatihan", "Parameter dilatih", "Waktu"]
        ),
        id,
        f"Rincian setiap baris: pengaturan `TrainConfig` yang berbeda dari resep, citra latih, banyaknya pelatihan, dan waktunya; semuanya {number(result['variants'][0]['epochs'], 0)} "
        f"epoch pada {escape(result['provenance']['device']['name'])}, kecuali bila dihentikan lebih awal.",
        align="llrrrl",
    )


def show_forest(result: dict, id: str = "fig-selisih") -> None:
    """Forest plot of the differences in accuracy."""
    rows = [v for v in result["variants"] if v["difference"] is not None]
    value = np.array([v["difference"]["acc"]["value"] for v in rows])
    low, high = np.array([v["difference"]["acc"]["ci95"] for v in rows]).T
    show_figure(
        plots.forest(
            [v["title"] for v in rows],
            100 * value,
            100 * low,
            100 * high,
            "Selisih akurasi uji terhadap pembanding (poin persen)",
        ),
        id,
        "Selisih akurasi uji setiap perbaikan terhadap pembanding dengan interval kepercayaan 95% berpasangan. Titik berisi: interval tidak "
        "memuat nol (sebelum koreksi banyaknya perbandingan).",
        "Diagram hutan; " + "; ".join(f"{v['title']}: {points(v['difference']['acc']['value'])} poin" for v in rows) + ".",
    )


def read_remedies(result: dict) -> str:
    """Which remedies helped, which hurt, and which cannot be told apart from the baseline."""
    groups: dict[str, list[str]] = {}
    for v in result["variants"][1:]:
        groups.setdefault(v["verdict"], []).append(v["title"])
    n = len(result["variants"]) - 1
    sentences = [f"Dari {number(n, 0)} percobaan:"]
    for verdict, text in (
        ("lebih baik", "lebih baik daripada pembanding"),
        ("lebih buruk", "lebih buruk daripada pembanding"),
        ("tidak terbedakan", "tidak terbedakan dari pembanding dengan data sebanyak ini"),
    ):
        if verdict in groups:
            listed = f" ({join(groups[verdict])})" if len(groups[verdict]) <= LISTED else ""
            sentences.append(f"{number(len(groups[verdict]), 0)} {text}{listed};")
    return " ".join(sentences)[:-1] + "."


def read_sizes(result: dict) -> str:
    """How many parameters the rows train that do not train as many as the baseline."""
    full = result["variants"][0]["trained_parameters"]
    others = [v for v in result["variants"] if v["trained_parameters"] != full]
    listed = [f"{v['title']} {number(v['trained_parameters'], 0)}" for v in others]
    return f"Pembanding melatih {number(full, 0)} parameter; yang melatih lebih sedikit: {join(listed)}."


TRANSFORM_NAMES = {"geometry": "geometri", "exposure": "pencahayaan", "flip": "cermin kiri-kanan"}


def show_augmentations(result: dict, id: str = "fig-augmentasi") -> None:
    """What each transform makes of one training image."""
    shown = result["augmentations"]
    show_figure(
        plots.augmentations(
            np.array(shown["image"], np.uint8),
            {TRANSFORM_NAMES[name]: np.array(made, np.uint8) for name, made in shown["examples"].items()},
        ),
        id,
        "Satu citra latih dan beberapa hasil acak setiap augmentasi. Perubahannya sengaja kecil, sebesar yang wajar terjadi ketika foto diambil; "
        "pencerminan memindahkan jantung ke sisi lain, sehingga diuji tersendiri.",
        f"{len(shown['examples'])} baris citra kecil: di kiri citra asalnya, lalu versi-versi yang diubah.",
    )


def read_cross_validation(result: dict) -> str:
    """The spread of the validation accuracy over the folds."""
    row = next(v for v in result["variants"] if v["name"] == "cross_validation")
    f = row["folds"]
    return (
        f"Validasi silang bukan perbaikan, melainkan ukuran sebaran: pada {number(len(f['val_acc']), 0)} lipatan akurasi validasi berkisar dari "
        f"{percent(min(f['val_acc']))} hingga {percent(max(f['val_acc']))} (rata-rata {percent(f['mean'])}, simpangan baku "
        f"{number(100 * f['sd'], 1)} poin persen). Selisih antara dua pelatihan yang lebih kecil daripada sebaran itu belum berarti apa-apa."
    )


def read_combination(result: dict) -> str:
    """Which combination validation chose and what the test split says of it."""
    row = next((v for v in result["variants"] if v["name"] == "combination"), None)
    if row is None:
        return (
            "Data validasi tidak menunjuk sedikitnya dua perbaikan yang *loss*-nya lebih rendah dan AUC-nya lebih tinggi daripada "
            "pembanding, jadi tidak ada gabungan yang diuji."
        )
    change, gap = row["difference"]["acc"], row["gap"]["value"]
    return (
        f"Data validasi memilih gabungan {join(row['parts'])}. Pada data uji gabungan itu berbeda "
        f"{points(change['value'])} poin persen dari pembanding (IK 95% {interval(change['ci95'])}; {row['verdict']}), dengan kesenjangan "
        f"{points(gap)} poin persen; kesenjangan pembanding {points(result['variants'][0]['gap']['value'])}."
    )


def best_variant(result: dict) -> dict:
    """The remedy with the largest difference in test accuracy (its verdict says whether that is more than chance)."""
    return max(result["variants"][1:], key=lambda v: v["difference"]["acc"]["value"])


def show_best_curves(result: dict, id: str = "fig-kurva") -> None:
    """Accuracy by epoch of the baseline and of the remedy with the largest difference, side by side."""
    best = best_variant(result)
    tables = {v["title"]: pd.DataFrame(v["history"]) for v in (result["variants"][0], best)}
    show_figure(
        plots.curves(tables, "acc", "Akurasi"),
        id,
        f"Akurasi latih dan validasi menurut epoch: pembanding (kiri) dan perbaikan dengan selisih terbesar, {best['title']} (kanan).",
        f"Dua grafik garis berdampingan dengan skala yang sama: pembanding dan {best['title']}.",
    )


def show_readings(*sentences: str) -> None:
    """Show computed sentences as one paragraph."""
    show_text(" ".join(sentences))


# --- the report as a whole ------------------------------------------------------------------------------------------


def title(result: dict) -> str:
    """The report's title."""
    collection = result["provenance"]["data"]["collection"]
    return "Transfer Learning pada " + (
        "Foto Toraks" if collection in ("ChestMNIST", "PneumoniaMNIST") else f"Citra {collection}"
    )


def cover_facts(result: dict) -> list[tuple[str, str]]:
    """What the box on the cover says: data, weights, preset, sizes, seeds, device, time, version; from 02_pelatihan.json."""
    origin = result["provenance"]
    counts, preset = origin["data"]["counts"], origin["preset"]
    sizes = [f"{number(sum(counts[split].values()), 0)} {name.lower()}" for split, name in SPLIT_NAMES.items()]
    first, last, names = origin["seed"], origin["seed"] + preset["seeds"] - 1, origin["data"]["class_names"]
    return [
        ("Data", f"{origin['data']['title']}. {origin['data']['note']}"),
        ("Kelas", f"{names[0]} (label 0) dan {names[1]} (label 1)"),
        ("Bobot awal", f"{origin['weights']['title']}. {origin['weights']['note']}"),
        ("Preset", f"{preset['name']}: {number(preset['epochs'], 0)} epoch, {number(preset['seeds'], 0)} seed"),
        ("Citra", join(sizes)),
        ("Seed", number(first, 0) if first == last else f"{first}–{last}"),
        ("Perangkat", origin["device"]["name"]),
        ("Waktu", f"{date(origin['started'])}; notebook pelatihan {duration(origin['seconds'])}"),
        ("Versi", f"{origin['commit']}; PyTorch {origin['packages']['torch']}, Python {origin['packages']['python']}"),
    ]


def abstract(training: dict, overfitting: dict, remedies: dict) -> str:
    """The abstract: what was done on what, the test result, the gap, calibration and what the remedies did."""
    origin, names = training["provenance"], training["provenance"]["data"]["class_names"]
    n = {split: sum(origin["data"]["counts"][split].values()) for split in SPLIT_NAMES}
    start = {"imagenet": "bobot ImageNet", "random": "bobot acak", "gabor": "bank Gabor"}.get(
        origin["weights"]["kind"], "bobot dari berkas"
    )
    opening = (
        f"ResNet-18 yang diadaptasi untuk citra keabuan {origin['data']['size']}×{origin['data']['size']} piksel dilatih dari {start} untuk "
        f"membedakan {escape(names[0])} dan {escape(names[1])} pada {number(n['train'], 0)} citra latih "
        f"({escape(origin['data']['title'])})."
    )
    if origin["data"]["kind"] == "phantom":
        opening += (
            " Citra itu buatan, sehingga angka-angka di sini menjelaskan cara jaringan belajar, bukan kinerjanya pada pasien."
        )
    claims = [claim["verdict"] for claim in overfitting["claims"]]
    ledger = (
        f"Dari {number(len(claims), 0)} klaim laporan mata kuliah, {number(claims.count('didukung'), 0)} didukung, "
        f"{number(claims.count('tidak didukung'), 0)} tidak didukung, dan {number(claims.count('tidak dapat diuji'), 0)} tidak dapat diuji."
    )
    return " ".join(
        [opening, read_test(training), read_gap(overfitting), _sure_predictions(overfitting), ledger, read_remedies(remedies)]
    )


def conclusion(training: dict, overfitting: dict, remedies: dict) -> str:
    """The closing paragraphs, computed from the results: is there overfitting, what does the test say, what to do."""
    last, best = overfitting["epochs"][-1]["gap"], best_variant(remedies)
    first = (
        "Dengan resep mata kuliah, jaringan mengalami *overfitting* yang terukur"
        if last["ci95"][0] > 0
        else "Dengan resep mata kuliah, *overfitting* tidak dapat dipastikan dari data sebanyak ini"
    )
    first += f": kesenjangan akhir {number(100 * last['value'], 1)} poin persen (IK 95% {interval(last['ci95'])})."
    change = best["difference"]["acc"]
    size = f"{points(change['value'])} poin persen (IK 95% {interval(change['ci95'])})"
    if best["verdict"] == "lebih baik":
        advice = f"Perbaikan yang terbukti paling membantu adalah {best['title']}, dengan selisih akurasi uji {size}."
    else:
        advice = (
            f"Tidak satu pun perbaikan terbukti menaikkan akurasi uji; selisih terbesar, {best['title']}, sebesar {size}, "
            "tidak terbedakan dari kebetulan. Ini bukan bukti bahwa perbaikan itu tidak berguna: ukuran percobaannya belum cukup "
            "untuk memutuskan."
        )
    return f"{first} {read_test(training)}\n\n{advice}"


NOTEBOOKS = (
    ("01_adaptasi_bobot", "Adaptasi bobot"),
    ("02_pelatihan", "Pelatihan"),
    ("03_analisis_overfitting", "Analisis *overfitting*"),
    ("04_perbaikan", "Perbaikan"),
)


def show_notebooks(id: str = "tbl-notebook") -> None:
    """Each notebook, its executed form, the page beside the report and the results file."""
    rows = [(f"[{title}]({name}.html)", f"`notebooks/{name}.ipynb`", f"`results/{name}.json`") for name, title in NOTEBOOKS]
    show_table(
        pd.DataFrame(rows, columns=["Notebook", "Bentuk yang dijalankan", "Angka yang diserahkan"]),
        id,
        "Notebook di balik laporan ini. Letak berkas dihitung dari folder hasil (`build/`); halaman HTML setiap notebook ada di samping laporan.",
    )


def show_provenance(results: list[dict], id: str = "tbl-asal") -> None:
    """Where the numbers of each notebook come from."""
    rows = []
    for name, result in results:
        p = result["provenance"]
        rows.append((name, p["data"]["fingerprint"], str(p["seed"]), p["device"]["name"], duration(p["seconds"]), p["commit"]))
    show_table(
        pd.DataFrame(rows, columns=["Notebook", "Sidik data", "Seed", "Perangkat", "Waktu", "Versi kode"]),
        id,
        "Asal-usul angka setiap notebook. Sidik data adalah ringkasan kriptografis atas citra dan label yang benar-benar dipakai.",
    )


def show_packages(result: dict, id: str = "tbl-paket") -> None:
    """Package versions."""
    rows = list(result["provenance"]["packages"].items())
    show_table(pd.DataFrame(rows, columns=["Paket", "Versi"]), id, "Versi paket yang dipakai.")
