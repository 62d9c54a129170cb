# Pintu depan. `make` saja mencetak bantuan.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:

BUILD ?= build
SEED ?= 0
SIZE ?= 28
N_JOBS ?= 1
$(foreach v,DATA WEIGHTS PRESET DEVICE CLASSES PRECISION SEEDS REPEAT,$(eval $(v) ?= auto))
# NAME from the environment is not taken: under WSL it holds the name of the computer.
$(foreach v,NAME NIM A B TOL RINCI,$(if $(filter-out command line,$(origin $(v))),$(eval $(v) :=)))
# What a person types is text: `value` keeps a $ in it from being expanded by make.
$(foreach v,NAME NIM DATA WEIGHTS CLASSES A B,$(eval override $(v) := $$(value $(v))))
export BUILD DATA WEIGHTS PRESET SEED DEVICE SIZE CLASSES PRECISION SEEDS REPEAT N_JOBS CLUSTER CHECK NAME NIM A B TOL RINCI
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

NOTEBOOKS := 01_adaptasi_bobot 02_pelatihan 03_analisis_overfitting 04_perbaikan 05_percobaan
EXECUTED := $(NOTEBOOKS:%=$(BUILD)/notebooks/%.ipynb)
REPORT := $(BUILD)/report/laporan.html $(BUILD)/report/laporan.pdf
PAGES := $(NOTEBOOKS:%=$(BUILD)/report/%.html)

TYPESETTER := $(wildcard report/exporters.py report/*.lua report/*.bib report/templates/*)

.PHONY: help setup lab report reference compare kumpul tugas nilai test bench clean distclean FORCE

help:
	@sed 's|BUILD/|$(BUILD)/|' report/bantuan.txt

setup: $(READY)
	@echo 'Lingkungan siap: $(PY)'

.venv/.ready: requirements.txt pyproject.toml report/setup.sh
	@sh report/setup.sh

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
$(BUILD)/.sources: $(BUILD)/.settings report/sources.py $(READY)
	@$(PY) -m report.sources $@ || { mv -f $(BUILD)/.settings.old $(BUILD)/.settings 2>/dev/null; exit 2; }

$(BUILD)/notebooks/%.ipynb: notebooks/%.ipynb $(BUILD)/.sources report/execute.py $(READY)
	@$(PY) -m report.execute $< $@
# One after the other, also under make -j: a training uses every core, and two at once slow each other down.
$(foreach n,2 3 4 5,$(eval $(word $(n),$(EXECUTED)): | $(word $(shell expr $(n) - 1),$(EXECUTED))))

$(BUILD)/notebooks/laporan.ipynb: report/laporan.ipynb $(EXECUTED) $(BUILD)/.cover report/execute.py $(READY)
	@$(PY) -m report.execute $< $@

# What else these steps rest on, the helpers and the words, each of them has noted beside its output (report/depends.py).
-include $(wildcard $(BUILD)/.*.d $(BUILD)/notebooks/.*.d)

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

reference: $(READY)
	@$(PY) -m report.reference

compare: $(READY)
	@$(PY) -m report.compare

kumpul tugas nilai: $(READY)
	@$(PY) -m grading $@

# Two tests at a time, a thread each: more threads than cores would wait for each other.
test: $(READY)
	@$(PY) -m ruff check --quiet . && $(PY) -m ruff format --quiet --check .
	@OMP_NUM_THREADS=1 CXR_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

bench: $(READY)
	@$(PY) -m bench

clean:
	@rm -rf $(addprefix $(BUILD)/,notebooks results report gagal .settings .settings.old .cover.old .environment.old .cover .sources .sources.d .begin .environment)
	@rmdir $(BUILD) 2>/dev/null || true
	@echo "Folder $(BUILD)/ dihapus; pelatihan tersimpan di runs/ tetap ada ($$(du -sh runs 2>/dev/null | cut -f1 | grep . || echo 0))."

distclean: clean
	@rm -rf runs data .venv *.egg-info
	@echo 'Semua yang dibuat oleh make sudah dihapus.'
