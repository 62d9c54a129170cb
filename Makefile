# Pintu depan. `make` saja mencetak bantuan.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:

BUILD ?= build
DATA ?= auto
WEIGHTS ?= auto
PRESET ?= auto
SEED ?= 0
DEVICE ?= auto
SIZE ?= 28
CLASSES ?= auto
N_JOBS ?= 1
CLUSTER ?=
# NAME from the environment is not taken: under WSL it holds the name of the computer.
ifneq ($(origin NAME),command line)
NAME :=
endif
ifneq ($(origin NIM),command line)
NIM :=
endif
# What a person types is text: `value` keeps a $ in it from being expanded by make.
override NAME := $(value NAME)
override NIM := $(value NIM)
override DATA := $(value DATA)
override WEIGHTS := $(value WEIGHTS)
override CLASSES := $(value CLASSES)
export BUILD DATA WEIGHTS PRESET SEED DEVICE SIZE CLASSES N_JOBS CLUSTER NAME NIM
export PYTHONUTF8 := 1
export PYTHONPATH := $(CURDIR)

ifneq ($(words $(BUILD)),1)
$(error BUILD tidak boleh kosong atau memuat spasi)
endif

# The interpreter: PYTHON=…, else an activated conda environment (base is left alone), else our own .venv.
ifdef PYTHON
PY := $(PYTHON)
READY := $(BUILD)/.environment
else ifneq ($(filter-out base,$(CONDA_DEFAULT_ENV)),)
PY := $(firstword $(wildcard $(CONDA_PREFIX)/bin/python $(CONDA_PREFIX)/python.exe))
READY := $(BUILD)/.environment
else
PY := .venv/bin/python
READY := .venv/.ready
endif

NOTEBOOKS := 01_adaptasi_bobot 02_pelatihan 03_analisis_overfitting 04_perbaikan
EXECUTED := $(NOTEBOOKS:%=$(BUILD)/notebooks/%.ipynb)
REPORT := $(BUILD)/report/laporan.html $(BUILD)/report/laporan.pdf
PAGES := $(NOTEBOOKS:%=$(BUILD)/report/%.html)

# Which helpers each step rests on; tests/test_make.py compares these lists with the imports.
helpers = $(1:%=cxr_helpers/%.py)
USES_sources := $(call helpers,__init__ augment data determinism download errors evaluation memory model phantom progress results runs settings study training)
USES_notebooks := $(USES_sources) $(call helpers,display plots presentation)
USES_01 := $(call helpers,adaptation widgets)
USES_02 := $(call helpers,adaptation widgets)
USES_03 := $(call helpers,adaptation claims overfitting)
USES_04 := $(call helpers,adaptation parallel remedies widgets worker)
USES_laporan := $(call helpers,__init__ display errors plots presentation results)
TYPESETTER := $(wildcard report/exporters.py report/*.lua report/*.bib report/*.csl report/templates/* report/templates/*/*)

.PHONY: help setup lab report compare test bench clean distclean FORCE
FORCE:

help:
	@echo 'Laporan transfer learning pada foto toraks'
	@echo
	@echo '  make setup     memasang semua yang diperlukan ke .venv (sekitar 6 GB)'
	@echo '  make report    menjalankan keempat notebook dan menyusun laporan HTML dan PDF'
	@echo '  make lab       membuka notebook di JupyterLab'
	@echo '  make test      menjalankan pengujian'
	@echo '  make compare   membandingkan angka dua hasil: make compare A=build B=build-lain'
	@echo '  make bench     mengukur kecepatan dan kalibrasi'
	@echo '  make clean     menghapus hasil di $(BUILD)/ (pelatihan tersimpan di runs/ tetap ada)'
	@echo '  make distclean menghapus juga runs/, data/, dan .venv'
	@echo
	@echo 'Pilihan untuk make report (yang pertama adalah nilai baku):'
	@echo '  DATA=auto|chestmnist|phantom|BERKAS.npz    WEIGHTS=auto|imagenet|gabor|random|BERKAS'
	@echo '  PRESET=auto|smoke|quick|full               DEVICE=auto|cpu|cuda|mps'
	@echo '  SIZE=28|64|128|224                         CLASSES=cardiomegaly,pneumothorax'
	@echo '  N_JOBS=1 (proses notebook 04)               CLUSTER=dask://host:port'
	@echo '  SEED=0   NAME="Nama Anda"   NIM="…"        BUILD=build'
	@echo
	@echo 'Contoh: make report NAME="Nama Anda" NIM="12345"'

setup: $(READY)
	@echo 'Lingkungan siap: $(PY)'

# The first Python that is new enough builds .venv; uv installs the lock in half a minute, pip does the same slowly.
.venv/.ready: requirements.txt pyproject.toml
	@base=; for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do \
	  if $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null; then base=$$p; break; fi; done; \
	if [ -z "$$base" ]; then echo 'Galat: perlu Python 3.10 sampai 3.14. Pasang python3, lalu ulangi.' >&2; exit 2; fi; \
	if ! [ -x .venv/bin/pip ]; then rm -rf .venv; \
	  if ! $$base -m venv .venv >/dev/null 2>&1; then rm -rf .venv; \
	    echo 'Galat: .venv tidak dapat dibuat. Pasang paket python3-venv (Debian/Ubuntu: sudo apt install python3-venv), lalu ulangi.' >&2; \
	    exit 2; fi; fi
	@echo 'Memasang paket ke .venv (sekitar 6 GB) …'
	@awk '/^uv==/ {on=1} on {print} on && !/\\$$/ {exit}' requirements.txt > .venv/uv.txt
	@if .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt && \
	    .venv/bin/uv pip install --python .venv/bin/python --require-hashes -r requirements.txt; then :; else \
	  echo 'uv tidak dapat dipakai; memasang dengan pip (lebih lama) …'; \
	  .venv/bin/pip install --disable-pip-version-check --require-hashes -r requirements.txt || { \
	    echo 'Galat: paket tidak dapat dipasang. Periksa jaringan dan ruang disk (6 GB), lalu ulangi make setup.' >&2; exit 2; }; fi
	@.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@.venv/bin/python -m ipykernel install --sys-prefix --name python3 --display-name 'Python 3 (laporan CXR)' >/dev/null
	@touch $@

# An environment that is not ours is checked, and completed only by `make setup`.
$(BUILD)/.environment: pyproject.toml
	@if [ '$(filter setup,$(MAKECMDGOALS))' ] && ! $(PY) report/check.py environment 2>/dev/null; then \
	  $(PY) -m pip install -e '.[test]'; fi
	@$(PY) report/check.py environment

# In a container people are often root, which JupyterLab refuses without being told; it listens on the loopback address only.
lab: $(READY)
	@$(PY) -m jupyterlab $$([ "$$(id -u)" = 0 ] && echo --allow-root) --notebook-dir=. notebooks/01_adaptasi_bobot.ipynb

$(BUILD)/.settings $(BUILD)/.cover: $(BUILD)/.%: FORCE | $(READY)
	@$(PY) report/check.py $*
$(BUILD)/.cover: | $(BUILD)/.settings

# What `auto` means is decided once, before the first notebook, and said.
$(BUILD)/.sources: $(BUILD)/.settings $(USES_sources) report/sources.py $(READY)
	@$(PY) -m report.sources $@ || { mv -f $(BUILD)/.settings.old $(BUILD)/.settings 2>/dev/null; exit 2; }

$(BUILD)/notebooks/%.ipynb: notebooks/%.ipynb $(BUILD)/.sources $(USES_notebooks) report/execute.py $(READY)
	@$(PY) -m report.execute $< $@
$(BUILD)/notebooks/01_adaptasi_bobot.ipynb: $(USES_01)
$(BUILD)/notebooks/02_pelatihan.ipynb: $(USES_02)
$(BUILD)/notebooks/03_analisis_overfitting.ipynb: $(USES_03)
$(BUILD)/notebooks/04_perbaikan.ipynb: $(USES_04)
# One after the other, also under make -j: a training uses every core, and two at once slow each other down.
$(BUILD)/notebooks/02_pelatihan.ipynb: | $(BUILD)/notebooks/01_adaptasi_bobot.ipynb
$(BUILD)/notebooks/03_analisis_overfitting.ipynb: | $(BUILD)/notebooks/02_pelatihan.ipynb
$(BUILD)/notebooks/04_perbaikan.ipynb: | $(BUILD)/notebooks/03_analisis_overfitting.ipynb

$(BUILD)/notebooks/laporan.ipynb: report/laporan.ipynb $(EXECUTED) $(BUILD)/.cover $(USES_laporan) report/execute.py $(READY)
	@$(PY) -m report.execute $< $@

$(BUILD)/report/laporan.%: $(BUILD)/notebooks/laporan.ipynb $(TYPESETTER)
	@$(PY) -m report.exporters $< --$* $@

# The executed notebooks, to be read beside the report, which links to them.
$(PAGES): $(BUILD)/report/%.html: $(BUILD)/notebooks/%.ipynb $(TYPESETTER)
	@$(PY) -m report.exporters $< --html $@

report: $(PAGES) $(REPORT)
	@if [ -n "$$(find $(REPORT) -newer $(BUILD)/.begin 2>/dev/null)" ]; then \
	  echo 'Laporan selesai: $(BUILD)/report/laporan.html dan $(BUILD)/report/laporan.pdf'; \
	  if [ -d runs ]; then echo "Pelatihan tersimpan: runs/, $$(du -sh runs | cut -f1)."; fi; \
	else echo 'Tidak ada yang perlu dikerjakan: laporan di $(BUILD)/report/ sudah mutakhir.'; fi

compare: $(READY)
	@$(PY) -m report.compare $(A) $(B)

# Two tests at a time, a thread each: more threads than cores would wait for each other.
test: $(READY)
	@OMP_NUM_THREADS=1 CXR_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

bench: $(READY)
	@$(PY) -m bench

clean:
	@rm -rf $(addprefix $(BUILD)/,notebooks results report gagal .settings .settings.old .cover.old .environment.old .cover .sources .begin .environment)
	@rmdir $(BUILD) 2>/dev/null || true
	@echo "Folder $(BUILD)/ dihapus; pelatihan tersimpan di runs/ tetap ada ($$(du -sh runs 2>/dev/null | cut -f1 | grep . || echo 0))."

distclean: clean
	@rm -rf runs data .venv *.egg-info
	@echo 'Semua yang dibuat oleh make sudah dihapus.'
