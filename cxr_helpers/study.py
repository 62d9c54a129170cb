"""What every notebook begins with: open data, weights and settings as one study; train and compare
in it (notebook 05).
"""

import sys
from pathlib import Path

from cxr_helpers import experiments, live
from cxr_helpers.engine import owncode
from cxr_helpers.engine.indonesian import percent
from cxr_helpers.setup import Setup, from_root, open_setup


class Study(Setup):
    """A setup in which one trains and compares. Changes of a recipe are any setting of TrainConfig,
    and parts of one's own: network, loss, optimizer, schedule, augment.
    """

    def train(
        self,
        seeds: int = 1,
        start: experiments.Result | str | None = None,
        n_jobs: int = 1,
        cluster: str = "",
        **changes,
    ) -> experiments.Result:
        """Train the recipe with `changes`, over as many seeds.

        start: the result of an earlier training of the same network, or its weights: "imagenet" or
        a file. In JupyterLab curves follow the training; it can be interrupted, and called again it
        goes on from its last whole epoch. Raises InputError.
        """
        recipe = experiments.separate(changes, sys._getframe(1))
        with live.watching(self, self.config(**recipe.changes), seeds) as on_epoch:
            return experiments.train(self, recipe, seeds, start, n_jobs, cluster, on_epoch)

    def check(
        self, start: experiments.Result | str | None = None, memorise: bool = False, **changes
    ) -> None:
        """Send one batch through a recipe with `changes` and say what it showed; see
        experiments.check. Raises InputError.
        """
        recipe = experiments.separate(changes, sys._getframe(1))
        share = experiments.check(self, recipe, start, memorise)
        print(
            "Satu batch lolos pemeriksaan: bentuk keluaran, loss, dan gradien lapisan pertama baik."
        )
        if share is not None:
            print(
                f"Dari {experiments.MEMORISED} citra, "
                f"{percent(share)} dapat dihafal tanpa augmentasi."
            )
            if share < experiments.NEARLY_ALL:
                print(
                    "Jaringan yang cukup besar menghafal hampir semuanya: "
                    "periksa loss, learning rate, dan jaringannya."
                )

    def compare(self, results: dict[str, experiments.Result]) -> experiments.Comparison:
        """Hold results of `train`, {title: result}, against the recipe, and show them as a table
        and figures.
        """
        return live.shown(experiments.compare(self, results))

    def load(self, path: str | Path) -> owncode.Own:
        """What a Python file of one's own defines, read once; a relative path counts from the
        project's root too.
        """
        return owncode.load(from_root(str(path)))


def open_study(*given, **named) -> Study:
    """Check the settings, find data and weights, and set the number of threads; arguments and
    errors as of setup.open_setup.
    """
    return Study(**vars(open_setup(*given, **named)))
