"""A drawn stand-in for ChestMNIST: frontal chest radiographs of 28×28 pixels from a small physical
model (notebook 02 shows them).

Made so that the whole course runs without a network. It is no clinical data and supports no
clinical conclusion.

From anatomy to image to data set
  anatomy.py  which patients are drawn, and the values of each patient's anatomy: centimetres,
              densities, flags
  image.py    patient → thickness of each tissue along the ray → Beer–Lambert → scatter and
              exposure → 4×4 pixels of the fine grid summed into one → quantum and electronic
              noise → window to uint8
  dataset.py  the splits of ChestMNIST with their ground truth, further images, the files

Sources
  Beer–Lambert, I = I0·exp(−Σ μ_i·t_i), and its use in radiography: Bushberg et al., The Essential
    Physics of Medical Imaging.
  Attenuation coefficients: Hubbell & Seltzer, Tables of X-Ray Mass Attenuation Coefficients,
    NISTIR 5632 (NIST, 1995), and NIST XCOM; read at 60 keV, near the mean energy of a 120 kVp chest
    beam, for the ICRU-44 tissues.
  Pneumothorax (visceral pleural line, no lung markings beyond it, mediastinal shift under tension):
    O'Connor & Morgan, Radiological review of pneumothorax, BMJ 330 (2005) 1493.
  Cardiothoracic ratio and its threshold of 0.50: Danzer, The cardiothoracic ratio, Am J Med Sci 157
    (1919).
  Chest tubes as a shortcut to the label: Oakden-Rayner et al., Hidden stratification causes
    clinically meaningful failures in machine learning for medical imaging, ACM CHIL 2020.
  Labels mined from text and their errors: Wang et al., ChestX-ray8, CVPR 2017; Oakden-Rayner,
    Exploring large-scale public medical image datasets, Academic Radiology 27 (2020).
  Layout, label order: Yang et al., MedMNIST v2, Scientific Data 10 (2023).
The spreads of size, shape and position are our choice, calibrated by bench/phantom_calibration.py:
as hard as the real pair is for networks of this size.
"""

from phantom.dataset import VERSION, ensure, explain, generate, more_test_images, patients, redraw

__all__ = ["VERSION", "ensure", "explain", "generate", "more_test_images", "patients", "redraw"]
