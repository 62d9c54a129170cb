"""The helpers that the notebooks import; a reader who wants to learn reads these files, in this
order.

study.py, setup.py     every notebook: open data, weights and settings as one study; train and
                       compare in it
data.py                notebook 02: two classes of a MedMNIST file as arrays
weights.py             notebook 01: first-layer kernels adapted to one grey channel; reading weights
                       safely
model.py               notebook 01: ResNet-18 for small grey images, the small CNN, which part is
                       trained
training.py, recipe.py notebook 02: one epoch and the fit; the settings of a run and what they make
augment.py             notebook 04: augmentation of batches
architectures.py       notebook 05: any torchvision network for grey images
evaluation.py          notebooks 02–04: metrics with their intervals, paired differences
comparison.py          notebook 04: differences of whole recipes
adaptation.py          notebook 01: what it measures
overfitting.py, attribution.py, claims.py
                       notebook 03: what each measures
remedies.py            notebook 04: what it measures
folds.py               notebooks 03 and 04: folds of whole patients
pretraining.py         notebook 04: all labels of the file, then the pair
verdicts.py            notebook 04: what may be said of each remedy
reference.py           notebook 04: the reference study that ships with the package
experiments.py         notebook 05: a student's own idea, trained, checked and compared
plots.py, pictures.py  all notebooks: figures from plain data
widgets.py, live.py    all notebooks: live panels
laboratory.py          notebook 04: choose, predict, train, see
ownimage.py            notebook 03: an image of one's own

The sentences stand in notebooks/text/. engine/ holds what works behind this and teaches nothing.
"""
