"""Does bfloat16 train networks as good as float32? `python -m bench.precision [--train]`, on the
reference study's phantom.

float32: the kept trainings of the reference study (`make reference`). bfloat16: the same recipe and
seeds, full size, in bench/bfloat16/; `--train` trains what is not there, N_JOBS at a time, and can
be stopped and called again. It also writes what came of it into the study's results.json
("precisions").

Equivalent are two precisions whose mean test AUC differs by less than a margin set in advance,
±0.02 for the course's recipe (ten seeds, which spread) and ±0.01 for the combination (five): two
one-sided tests at 5% (Schuirmann 1987), whose variance counts images and seeds. Exit status 0: an
open question misses no target.

November 2026, PyTorch 2.15, bfloat16 on an Intel Xeon (amx_bf16), float32 on AMD EPYC (recipe) and
that Xeon (combination): both are equivalent, mean test AUC -0.0025 (90% CI -0.0122 to 0.0071, p =
0.003) and -0.0001 (-0.0012 to 0.0009, p < 0.001).
"""

import argparse
import os
import sys

from cxr_helpers.comparison import SIGNIFICANCE
from cxr_helpers.engine import indonesian, settings
from cxr_helpers.setup import open_setup
from cxr_helpers.verdicts import Images
from report import reference as computing

HEAD = (
    "| Baris | Seed bfloat16 dan float32 | Batas | Selisih AUC | IK 90% | p | Putusan |\n"
    "|:--|:--|--:|--:|:--|--:|:--|"
)


def line(row: dict) -> str:
    """One of computing.precisions as a line of the table."""
    ours, theirs, planned = row["seeds"]
    cells = (
        f"| {row['name']} | {ours} dan {theirs} dari {planned} | "
        f"±{indonesian.number(row['margin'], 2)} |"
    )
    if "value" not in row:
        return f"{cells} – | – | – | seed belum cukup |"
    word = "setara" if row["p"] < SIGNIFICANCE else "belum terbukti setara"
    whole = "" if ours == theirs == planned else " (sementara)"
    ci = indonesian.interval(row["ci90"], 4, 1)
    return (
        f"{cells} {indonesian.signed(row['value'], 4)} | {ci} | "
        f"{indonesian.p_value(row['p'])} | {word}{whole} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Kesetaraan bfloat16 dan float32")
    parser.add_argument(
        "--train",
        action="store_true",
        help="latih yang belum ada dengan bfloat16, lalu tulis results.json",
    )
    train, n_jobs = parser.parse_args().train, settings.parse_jobs(os.environ.get("N_JOBS") or 1)[0]
    study = open_setup(data="phantom", weights="random", preset="full", precision="float32")
    data = computing.with_extra(study.used)
    singles = computing.plan(study, data)
    planned = singles + (computing.combination(singles, study, data) or [])
    if train:
        asked = [one for one in planned if one.remedy.name in computing.MARGINS]
        computing.train(computing.in_bfloat16(asked), study, n_jobs, "", "bfloat16")
        computing.summarise(singles, study, data)
    found = computing.precisions(planned, Images.of(data))
    print("\n".join([HEAD, *map(line, found)]))
    print(
        "\nKesetaraan terbukti pada kedua baris."
        if all(row["shown"] for row in found)
        else "\nKesetaraan belum terbukti pada kedua baris."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
