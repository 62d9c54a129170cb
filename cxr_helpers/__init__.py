"""The helpers that the notebooks import; a reader who wants to learn reads these files, in this
order.

study.py        every notebook: data, weights and settings as one study; train and compare
data.py         notebook 02: two classes of a MedMNIST file as arrays
model.py        notebook 01: kernels adapted to one grey channel, and the networks
training.py     notebook 02: the settings of a run, one epoch, the fit
augment.py      notebook 04: augmentation of batches
evaluation.py   notebooks 02–04: metrics, intervals that count images and seeds, verdicts
adaptation.py   notebook 01: what it measures
overfitting.py  notebook 03: what it measures
claims.py       notebook 03: what the course's report claims, and what may be said of it
remedies.py     notebook 04: every remedy beside the recipe; the study that ships with the package
experiments.py  notebook 05: a student's own idea, trained, checked and compared
figures.py      all notebooks: figures from plain data
panels.py       all notebooks: what moves in JupyterLab

The sentences stand in notebooks/text/. engine/ holds what works behind this and teaches nothing.
"""
