"""A student's own idea, trained and judged as our remedies are (notebook 05).

`Study.train` trains it, `Study.compare` holds it against the course's recipe by the rules of
verdicts.py, and `duga` writes a prediction down before either. On the phantom the reference study's
seeds of the recipe are the partners, so that a student pays for their own trainings only.
"""

import difflib
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from pathlib import Path

import pandas as pd
import torch

from cxr_helpers import data, evaluation, model, remedies, training
from cxr_helpers.engine import files, owncode
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.indonesian import interval, number, points, signed
from cxr_helpers.engine.runs import Run
from cxr_helpers.engine.runtime import someone_watches
from cxr_helpers.model import Weights, resolve_weights
from cxr_helpers.remedies import Images, Pretrained, Remedy, Row, trained
from cxr_helpers.training import PARTS, TrainConfig

DIRECTIONS = {"naik": "above", "turun": "below", "sama": "across"}
MEASURES = {"auc": "predicts", "kesenjangan": "overfits"}
FEW = 16  # images of the batch that `check` sends through
NEARLY_ALL = 0.95
ALSO_CALLED = {
    "learning_rate": "lr",
    "batch": "batch_size",
    "model": "network",
    "criterion": "loss",
    "scheduler": "schedule",
}
INSTEAD = {  # of a name, which these do not take
    "network": "berikan kelas atau fungsi yang membuat jaringan; "
    "jaringan torchvision dipilih dengan architecture=…",
    "loss": "berikan sebuah nn.Module atau fungsi, misalnya nn.BCEWithLogitsLoss()",
}
# images that a network with enough capacity, and no mistake in its training, can learn by heart
MEMORISED = 32


# --- an experiment --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Guess:
    """What is expected of an experiment before it is trained: see `duga`."""

    measure: str
    direction: str
    size: float | None


def duga(arah: str, besar: float | None = None, ukuran: str = "auc") -> Guess:
    """A prediction: arah "naik", "turun" or "sama"; besar: by how much (AUC or gap, as shares 0…1),
    or None; ukuran "auc" or "kesenjangan". Raises InputError.
    """
    if besar is not None and not (isinstance(besar, Real) and abs(besar) <= 1):
        raise InputError(
            f"duga: besar={besar!r} tidak dapat dipakai: tulis sebagai bilangan 0 sampai 1; "
            "0.10 berarti 10 poin persen."
        )
    for name, value, known in (("arah", arah, DIRECTIONS), ("ukuran", ukuran, MEASURES)):
        if value not in known:
            raise InputError(f"duga: {name}={value!r} tidak dikenal: pilih {', '.join(known)}.")
    return Guess(MEASURES[ukuran], DIRECTIONS[arah], None if besar is None else abs(float(besar)))


@dataclass(frozen=True)
class Recipe:
    """What a student changes: plain settings of TrainConfig, and parts of their own as a program.

    live: the parts themselves, where no text identifies them; such a run is not kept.
    """

    changes: dict
    live: dict | None = None


class Experiment:
    """One row of notebook 05: a name, a sentence of motivation, what is expected, and the changes
    of the recipe.
    """

    def __init__(
        self,
        title: str,
        motivation: str = "",
        guess: Guess | None = None,
        start: "Result | str | None" = None,
        **changes,
    ):
        self.title, self.motivation, self.guess, self.start = title, motivation, guess, start
        self.recipe = separate(changes, sys._getframe(1))


def separate(changes: dict, frame: types.FrameType) -> Recipe:
    """Tell plain settings from parts of one's own, which become a program (engine/owncode.py) by
    the call that runs in `frame`.

    Raises InputError for an unknown setting, with the nearest known one.
    """
    known = [field.name for field in fields(TrainConfig)] + list(PARTS)
    for name in changes:
        if name not in known or name == "own":
            near = (
                [ALSO_CALLED[name]]
                if name in ALSO_CALLED
                else difflib.get_close_matches(name, known, n=1)
            )
            there = f"yang ada: {', '.join(one for one in known if one != 'own')}."
            raise InputError(
                f"{name} bukan pengaturan: "
                + (f"mungkin maksud Anda {near[0]}?" if near else there)
            )
        if name in INSTEAD and isinstance(changes[name], str):
            raise InputError(f"{name}={changes[name]!r} tidak dapat dipakai: {INSTEAD[name]}.")
    own = {
        name: value
        for name, value in changes.items()
        if name in PARTS and not _is_named(name, value)
    }
    plain = {name: value for name, value in changes.items() if name not in own}
    if "augment" in plain:
        plain["augment"] = (
            (plain["augment"],) if isinstance(plain["augment"], str) else tuple(plain["augment"])
        )
    if not own:
        return Recipe(plain)
    if "augment" in own and callable(own["augment"]):
        raise InputError("augment: berikan sebuah daftar, misalnya augment=[geser].")
    try:
        return Recipe({**plain, "own": owncode.program(own, frame)})
    except owncode.Unknown as why:
        print(f"Pelatihan ini tidak akan disimpan: {why}.", file=sys.stderr, flush=True)
        return Recipe(plain, live=own)


def _is_named(name: str, value: object) -> bool:
    if name == "augment":
        return isinstance(value, str) or (
            isinstance(value, Sequence) and all(isinstance(one, str) for one in value)
        )
    return isinstance(value, str) and name in ("optimizer", "schedule")


# --- training it ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """The trainings of one experiment, one a seed."""

    runs: tuple[Run, ...]

    @property
    def history(self) -> pd.DataFrame:
        """Of the first seed: epoch, losses, accuracies and validation AUC."""
        return self.runs[0].history

    def start(self) -> Weights:
        """The first seed's best weights as the start of another training of the same network.
        Raises InputError.
        """
        try:
            state = self.runs[0].weights("best")
        except FileNotFoundError:
            raise InputError(
                "start: bobot pelatihan itu tidak disimpan, karena dilatih oleh beberapa proses; "
                "latihlah lagi dengan n_jobs=1."
            ) from None
        return Weights("run", "Bobot dari pelatihan sebelumnya", "", state, model.digest(state))

    def __repr__(self) -> str:
        last = self.history.iloc[-1]
        return (
            f"{len(self.runs)} pelatihan, {len(self.history)} epoch: "
            f"akurasi latih {number(last['train_acc'])}, akurasi validasi "
            f"{number(last['val_acc'])}, AUC validasi {number(last['val_auc'])} (seed pertama)"
        )


def train(
    study,
    recipe: Recipe,
    seeds: int = 1,
    start: "Result | str | None" = None,
    n_jobs: int = 1,
    cluster: str = "",
    on_epoch: Callable[[list[dict]], None] = lambda history: None,
) -> Result:
    """The runs of a recipe over `seeds` seeds, read from the store or trained; one batch goes
    through first (`check`).

    start: see `starting`. n_jobs, cluster: as of training.run_all. Raises InputError.
    """
    _check_whole(seeds=seeds, n_jobs=n_jobs)
    configs, start = _prepared(study, recipe, seeds, start)
    return _trained(study, recipe, configs, start, n_jobs, cluster, on_epoch)


def _trained(
    study,
    recipe: Recipe,
    configs: list[TrainConfig],
    start: Weights,
    n_jobs: int,
    cluster: str,
    on_epoch: Callable[[list[dict]], None] = lambda history: None,
) -> Result:
    if recipe.live is None and (n_jobs > 1 or cluster):
        given = [(config, study.used, start, study.device) for config in configs]
        return Result(tuple(training.run_all(given, n_jobs, cluster)))
    how = {"on_epoch": on_epoch, "parts": recipe.live}
    return Result(
        tuple(training.run(config, study.used, start, study.device, **how) for config in configs)
    )


def _check_whole(**given: int) -> None:
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise InputError(
                f"{name}={value!r} tidak dapat dipakai: berikan bilangan bulat mulai dari 1."
            )


def _prepared(
    study, recipe: Recipe, seeds: int, start: "Result | str | None"
) -> tuple[list[TrainConfig], Weights]:
    """The configuration of each seed and the starting weights, after one batch has gone through
    what is not ours.
    """
    first = study.config(**recipe.changes)
    start = starting(study, first.architecture, start)
    if first.own or recipe.live or first.architecture not in training.model.OURS:
        check(study, recipe, start)
    return [replace(first, seed=first.seed + i) for i in range(seeds)], start


def _few(study, n: int) -> data.Dataset:
    used = study.used
    parts = {name: data.subset(getattr(used, name), n, 0) for name in ("train", "val", "test")}
    return data.with_splits(used, extra=None, **parts)


def starting(
    study, architecture: str, start: "Result | Pretrained | Weights | str | None"
) -> Weights:
    """The weights that a training begins with: the study's (None), those of a Result or of
    pretraining, or for any torchvision network "imagenet" or the path of a file of that network.
    Raises InputError.
    """
    if start is None:
        return study.weights
    if isinstance(start, Result | Pretrained):
        return start.start()
    if isinstance(start, str | Path):
        ours = architecture in training.model.OURS
        if architecture == "small_cnn":
            raise InputError(
                f"start={str(start)!r}: CNN kecil tidak mempunyai bobot terbitan; "
                "latihlah dahulu, lalu berikan hasilnya."
            )
        given, folder = files.from_root(str(start)), files.data_folder()
        return (
            resolve_weights(given, folder) if ours else model.published(architecture, given, folder)
        )
    if isinstance(start, Weights):
        return start
    raise InputError(
        "start: berikan hasil study.train, 'imagenet', atau letak berkas bobot, "
        f"bukan {type(start).__name__}."
    )


def check(
    study,
    recipe: Recipe,
    start: "Result | Weights | str | None" = None,
    memorise: bool = False,
) -> float | None:
    """Send one batch through a recipe before it is trained: shapes, a finite loss, a gradient that
    reaches the first layer.

    memorise: also train MEMORISED images without augmentation for up to 60 epochs and return the
    share that is then right; less than nearly all of them says that something in the training is
    wrong. Raises InputError with one line.
    """
    config = replace(study.config(**recipe.changes), batch_size=FEW)
    start = starting(study, config.architecture, start)
    with owncode.explained():
        fitting = training.Fitting(config, _few(study, FEW), start, study.device, recipe.live)
        x, y = fitting.transform(fitting.inputs["train"], fitting.target)
        fitting.network.train()
        output = fitting.part(x)
        _check_output(output, len(x), fitting.criterion)
        loss = fitting.criterion(output.float(), y)
        if not isinstance(loss, torch.Tensor) or loss.shape != () or not torch.isfinite(loss):
            got = tuple(loss.shape) if isinstance(loss, torch.Tensor) and loss.shape != () else loss
            raise InputError(
                f"loss: hasilnya {got}, seharusnya satu bilangan terhingga (tensor tanpa dimensi); "
                "rata-ratakan."
            )
        loss.backward()
    trained_ones = [p for p in fitting.network.parameters() if p.requires_grad]
    if not trained_ones:
        raise InputError("Jaringan itu tidak mempunyai parameter yang dilatih.")
    if (
        config.trainable == "all"
        and not config.unfreeze
        and (trained_ones[0].grad is None or not trained_ones[0].grad.any())
    ):
        raise InputError(
            "Gradien tidak sampai ke lapisan pertama: "
            "periksa detach(), no_grad(), atau aktivasi yang selalu nol."
        )
    return _memorise(study, replace(config, epochs=60), start, recipe.live) if memorise else None


def _check_output(output: object, n: int, criterion: object) -> None:
    """The network's answer must be one logit an image."""
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if shape != (n, 1):
        raise InputError(
            f"Jaringan memberi {shape} untuk {n} citra, seharusnya ({n}, 1): "
            "satu logit setiap citra."
        )
    if type(output.grad_fn).__name__.startswith("Sigmoid") and not isinstance(
        criterion, torch.nn.BCELoss
    ):
        raise InputError(
            "Keluaran jaringan sudah melewati sigmoid, sedangkan yang diperlukan logit: "
            "hapus sigmoid di akhir."
        )
    if isinstance(criterion, torch.nn.BCELoss):
        raise InputError(
            "BCELoss mengharapkan probabilitas; di sini jaringan memberi logit, tanpa sigmoid: "
            "pakai nn.BCEWithLogitsLoss()."
        )
    if isinstance(criterion, torch.nn.CrossEntropyLoss):
        raise InputError(
            "CrossEntropyLoss atas satu logit selalu nol, jadi tidak ada yang dipelajari: "
            "pakai nn.BCEWithLogitsLoss()."
        )


def _memorise(study, config: TrainConfig, start: Weights, live: dict | None) -> float:
    plain = (
        {name: part for name, part in (live or {}).items() if name != "augment"} if live else None
    )
    config = replace(config, augment=(), augment_target="all", tta=0)
    few = _few(study, MEMORISED)
    with owncode.explained():
        fitting = training.Fitting(config, few, start, study.device, plain)
        if config.own:
            fitting.transform = lambda x, y: (x, y)
        for _ in range(config.epochs):
            fitting.epoch()
            right = (fitting.predict("train") > 0).numpy() == (few.train.labels == 1)
            if right.all():
                break
    return float(right.mean())


# --- holding it against the recipe ----------------------------------------------------------------


def _row(study, place: int, title: str, result: Result) -> Row:
    config, recipe = result.runs[0].config, asdict(study.config())
    changed = {
        name: value
        for name, value in asdict(config).items()
        if name not in ("own", "seed") and value != recipe[name]
    }
    changed |= owncode.expressions(config.own)
    each = [trained(run) for run in result.runs]
    return Row(
        Remedy(f"experiment{place}", "", title), each, changed, len(study.used.train), config.epochs
    )


def partners(study) -> tuple[Row, str]:
    """The recipe's row that experiments are compared with, and whose it is: "reference" where that
    study is about these very images, length and start and has seeds enough, else "own".
    """
    found = remedies.reference_baseline(study)
    if found is not None and len(found.trained) >= evaluation.LEAST_SEEDS:
        return found, "reference"
    fits = study.baseline()
    each = [trained(run) for run in fits]
    return Row(remedies.BASELINE, each, {}, len(study.used.train), study.preset.epochs), "own"


@dataclass(frozen=True)
class Comparison:
    """Experiments beside the recipe: rows of verdicts.judge (the recipe first), whose seeds of the
    recipe, and the guesses.
    """

    rows: list[dict]
    partner: str
    guesses: list[dict | None]
    ensembles: list[dict | None]

    @property
    def table(self) -> pd.DataFrame:
        """One line a row, formatted for people."""
        lines = []
        for row in self.rows:
            line = {
                "Percobaan": row["title"],
                "Seed": len(row["seeds"]),
                "AUC uji": number(row["test"]["auc"]["value"]),
            }
            for question, title, write, show in (
                ("predicts", "AUC", signed, lambda ci: interval(ci, 3, 1)),
                ("overfits", "kesenjangan", points, interval),
            ):
                found = row[question]
                line[f"Selisih {title}"] = (
                    f"{write(found['value'])} [{show(found['ci95'])}]" if found else "–"
                )
                line[f"Putusan {title}"] = found["verdict"] if found else row["verdict"]
            lines.append(line)
        return pd.DataFrame(lines).set_index("Percobaan")

    def __repr__(self) -> str:
        return f"Perbandingan {len(self.rows) - 1} percobaan dengan resep mata kuliah"

    def as_dict(self) -> dict:
        """As 05_percobaan.json holds it."""
        return {
            "variants": self.rows,
            "partner": self.partner,
            "guesses": self.guesses,
            "ensembles": self.ensembles,
            "summary": remedies.summarise(self.rows),
            "compared": [row["name"] for row in self.rows][:4],
            "margin": evaluation.MARGIN,
        }


def compare(study, results: dict[str, Result], guesses: Sequence[Guess | None] = ()) -> Comparison:
    """Hold experiments {title: result} against the recipe, on the test split, by the rules of
    notebook 04.

    Raises InputError where there is nothing to compare, or a result is no result of `Study.train`
    on this study's images.
    """
    if not results or not isinstance(results, dict):
        raise InputError("Belum ada percobaan bernama: berikan study.compare({'nama': hasil}).")
    for title, result in results.items():
        if not isinstance(result, Result):
            raise InputError(
                f"{title}: berikan hasil dari study.train, bukan {type(result).__name__}."
            )
        if any(run.data != study.used.fingerprint for run in result.runs):
            raise InputError(
                f"{title}: dilatih dengan data lain daripada studi ini; "
                "latih lagi dengan study.train."
            )
    base, whose = partners(study)
    rows = [
        _row(study, i, title, result) for i, (title, result) in enumerate(results.items(), start=1)
    ]
    images = Images.of(study.used)
    judged = remedies.judge([base, *rows], images)
    guessed = [
        outcome(guess, row)
        for guess, row in zip([*guesses, *[None] * len(rows)], judged[1:], strict=False)
    ]
    return Comparison(judged, whose, guessed, [remedies.ensemble(row, images) for row in rows])


def outcome(guess: Guess | None, row: dict) -> dict | None:
    """A guess beside what came out: agrees is "ya", "tidak" or "belum dapat diputuskan" (the
    interval holds both, there are too few seeds for a verdict, or the networks guess one class).
    """
    if guess is None:
        return None
    found = row[guess.measure]
    low, high = found["ci95"]
    side = evaluation.side(found["ci95"])
    # as in comparison.judge
    undecided = found.get("p", 0) is None or found.get("verdict") == evaluation.MAJORITY
    margin = evaluation.MARGIN["auc" if guess.measure == "predicts" else "gap"]
    if guess.direction == "across":
        equal, apart = -margin < low and high < margin, low > margin or high < -margin
        agrees = "ya" if equal else "tidak" if apart else evaluation.UNDECIDED
    else:
        agrees = (
            evaluation.UNDECIDED
            if side == "across"
            else "ya"
            if side == guess.direction
            else "tidak"
        )
    agrees = evaluation.UNDECIDED if undecided else agrees
    size = None if guess.size is None else guess.size * (-1 if guess.direction == "below" else 1)
    within = None if size is None else bool(low <= size <= high)
    return {
        "measure": guess.measure,
        "direction": guess.direction,
        "size": size,
        "value": found["value"],
        "ci95": list(found["ci95"]),
        "agrees": agrees,
        "within": within,
    }


def _announce(study, tasks: Sequence[tuple[Experiment, list[TrainConfig], Weights]]) -> None:
    """One line: how many trainings the experiments ask for that the store lacks."""
    missing = unkept = 0
    for one, configs, start in tasks:
        if one.recipe.live is None:
            asked = [training.task(c, study.used, start, study.device) for c in configs]
            missing += sum(not task.finished for task in asked)
        else:
            unkept += len(configs)
    said = f"Pelatihan yang belum tersimpan: {missing}"
    if unkept:
        said += f"; selain itu {unkept} pelatihan yang tidak dapat disimpan"
    print(said + ".", flush=True)


def run_all(
    study, experiments: Sequence[Experiment], seeds: int, n_jobs: int = 1, cluster: str = ""
) -> Comparison:
    """Train every experiment over `seeds` seeds and compare them. Raises InputError; two
    experiments of one name are refused.

    One batch goes through each of them first, so that a mistake in the last does not wait for the
    others' trainings; in JupyterLab it is said how many those are.
    """
    if not isinstance(experiments, Sequence) or not all(
        isinstance(one, Experiment) for one in experiments
    ):
        raise InputError("Berikan sebuah daftar percobaan: [Experiment('nama', 'alasan', …), …].")
    titles = [one.title for one in experiments]
    twice = sorted({title for title in titles if titles.count(title) > 1})
    if twice:
        raise InputError(f"Dua percobaan bernama {twice[0]}: beri nama yang berbeda.")
    _check_whole(seeds=seeds, n_jobs=n_jobs)
    tasks = [(one, *_prepared(study, one.recipe, seeds, one.start)) for one in experiments]
    if someone_watches():
        _announce(study, tasks)
    results = {}
    for place, (one, configs, start) in enumerate(tasks, start=1):
        if someone_watches():
            print(f"Percobaan ke-{place}: {one.title}", flush=True)
        results[one.title] = _trained(study, one.recipe, configs, start, n_jobs, cluster)
    return compare(study, results, [one.guess for one in experiments])
