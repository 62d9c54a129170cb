# Pintu depan. `make` saja mencetak bantuan.
.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:

BUILD ?= build
SEED ?=
SIZE ?= 28
N_JOBS ?= 1
$(foreach v,DATA WEIGHTS PRESET DEVICE CLASSES PRECISION SEEDS REPEAT,$(eval $(v) ?= auto))
# NAME from the environment is not taken: under WSL it holds the name of the computer. Not given, NAME and NIM stay with the build.
KEPT := $(foreach v,NAME NIM,$(if $(filter-out command line,$(origin $(v))),$(v)))
$(foreach v,NAME NIM A B TOL RINCI,$(if $(filter-out command line,$(origin $(v))),$(eval $(v) :=)))
# What a person types is text: `value` keeps a $ in it from being expanded by make.
$(foreach v,NAME NIM DATA WEIGHTS CLASSES A B,$(eval override $(v) := $$(value $(v))))
export BUILD DATA WEIGHTS PRESET SEED DEVICE SIZE CLASSES PRECISION SEEDS REPEAT N_JOBS CLUSTER CHECK OWN_SETS NAME NIM A B TOL RINCI TYPED PY
# Images of containers often forbid bytecode: every notebook would compile torch's thousands of files anew.
unexport $(KEPT) MPLBACKEND PYTHONDONTWRITEBYTECODE
export PYTHONUTF8 := 1
# What a person has installed beside the environment is for `make lab`; without a home, Python would make a folder named ~ here.
export PYTHONNOUSERSITE := $(if $(filter lab,$(MAKECMDGOALS)),,1)
export HOME := $(or $(value HOME),$(shell cd ~ 2>/dev/null && pwd || echo /tmp))
# Two places are separated by a colon, which a clone's own path may hold.
export PYTHONPATH := $(if $(findstring :,$(CURDIR)),.,$(CURDIR))

# The folder as it was typed, and the name by which make can know it (report/link.sh).
TYPED := $(value BUILD)
override BUILD := $(shell sh report/link.sh '$(subst ','\'',$(TYPED))')
$(if $(BUILD),,$(error BUILD tidak boleh kosong, dan foldernya harus dapat dibuat))

# The interpreter: PYTHON=…, else that of an activated conda environment (base is left alone), else our own .venv.
CONDA_PY := $(if $(filter-out base,$(CONDA_DEFAULT_ENV)),$(shell for p in "$$CONDA_PREFIX/bin/python" "$$CONDA_PREFIX/python.exe"; do [ -x "$$p" ] && echo "$$p" && break; done))
ifdef PYTHON
PY := $(value PYTHON)
READY := $(BUILD)/.environment
else ifneq ($(CONDA_PY),)
PY := $(CONDA_PY)
READY := $(BUILD)/.environment
else
PY := .venv/bin/python
READY := .venv/.ready
endif

NOTEBOOKS := 01_adaptasi_bobot 02_pelatihan 03_analisis_overfitting 04_perbaikan 05_percobaan
EXECUTED := $(NOTEBOOKS:%=$(BUILD)/notebooks/%.ipynb)
REPORT := $(BUILD)/report/laporan.html $(BUILD)/report/laporan.pdf
PAGES := $(NOTEBOOKS:%=$(BUILD)/report/%.html)
# What every chapter rests on: a changed helper runs all of them again.
HELPERS := $(wildcard cxr_helpers/*.py cxr_helpers/engine/*.py phantom/*.py grading/exercises.py grading/challenge.py report/chapter.py notebooks/text/istilah.md.j2 notebooks/reference/results.json)
TYPESETTER := $(wildcard report/exporters.py report/fonts.py report/foreign.py report/*.lua report/*.bib report/templates/* report/huruf/*)

.PHONY: help setup lab report reference compare kumpul tugas nilai tantangan bundel test bench clean clean-runs distclean FORCE

help: ; @cat report/bantuan.txt

setup: $(READY)
	@echo "Lingkungan siap: $$PY"

.venv/.ready: requirements.txt pyproject.toml report/setup.sh
	@sh report/setup.sh
# An environment that is not ours is checked, and completed only by `make setup`.
$(BUILD)/.environment: pyproject.toml
	@if [ '$(filter setup,$(MAKECMDGOALS))' ] && ! "$$PY" report/check.py environment 2>/dev/null; then \
	  "$$PY" -m pip install -e '.[test]'; fi
	@"$$PY" report/check.py environment
# In a container people are often root, which JupyterLab refuses without being told; it listens on the loopback address only.
# The seed is that of `make report`: nothing is trained twice. By report/jupyter a panel is saved, and outlives its kernel.
lab: $(READY)
	@SEED="$${SEED:-$$("$$PY" report/check.py seed)}" && export SEED && \
	JUPYTER_CONFIG_PATH="$(CURDIR)/report/jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" CXR_LAB=1 $(if $(findstring :,$(CURDIR)),PYTHONPATH=..) "$$PY" -m jupyterlab $$([ "$$(id -u)" = 0 ] && echo --allow-root) --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks/01_adaptasi_bobot.ipynb

$(BUILD)/.settings $(BUILD)/.cover: $(BUILD)/.%: FORCE | $(READY)
	@"$$PY" report/check.py $*
$(BUILD)/.cover: | $(BUILD)/.settings
# What `auto` means is decided once, before the first notebook, and said.
$(BUILD)/.sources: $(BUILD)/.settings report/sources.py $(HELPERS) $(READY)
	@"$$PY" -m report.sources $@ || { mv -f $(BUILD)/.settings.old $(BUILD)/.settings 2>/dev/null; exit 2; }

$(BUILD)/notebooks/%.ipynb: notebooks/%.ipynb notebooks/text/%.md.j2 $(BUILD)/.sources report/execute.py $(READY)
	@"$$PY" -m report.execute $< $@ $?
notebooks/%.ipynb notebooks/text/%.md.j2 report/%.ipynb:
	@echo 'Galat: $@ tidak ada: ambil kembali dengan `git checkout -- $@`.' >&2; exit 2
# One after the other, also under make -j: a training uses every core, and two at once slow each other down.
$(foreach n,2 3 4 5,$(eval $(word $(n),$(EXECUTED)): | $(word $(shell expr $(n) - 1),$(EXECUTED))))
$(lastword $(EXECUTED)): $(wildcard data/tantangan/citra.npz)

$(BUILD)/notebooks/laporan.ipynb: report/laporan.ipynb notebooks/text/laporan.md.j2 $(EXECUTED) $(BUILD)/.cover report/execute.py $(READY)
	@"$$PY" -m report.execute $< $@
$(BUILD)/report/laporan.%: $(BUILD)/notebooks/laporan.ipynb $(TYPESETTER)
	@"$$PY" -m report.exporters $< --$* $@
$(PAGES): $(BUILD)/report/%.html: $(BUILD)/notebooks/%.ipynb $(TYPESETTER)
	@"$$PY" -m report.exporters $< --html $@
$(BUILD)/report/index.html: report/templates/index.html report/huruf/huruf.css report/templates/laporan.css | $(REPORT)
	@sed $(patsubst %,-e '/<style>/r %',$(filter %.css,$^)) $< > $@

report: $(PAGES) $(REPORT) $(BUILD)/report/index.html
	@if [ -n "$$(find $(REPORT) -newer $(BUILD)/.begin 2>/dev/null)" ]; then \
	  echo "Laporan selesai: $$TYPED/report/laporan.html dan $$TYPED/report/laporan.pdf"; \
	  if [ -d runs ]; then echo "Pelatihan tersimpan: runs/, $$(du -sh runs | cut -f1)."; fi; \
	else echo "Tidak ada yang perlu dikerjakan: laporan di $$TYPED/report/ sudah mutakhir."; fi

reference compare: $(READY)
	@"$$PY" -m report.$@
kumpul tugas nilai tantangan bundel: $(READY)
	@"$$PY" -m grading $@

# Two tests at a time, a thread each: more threads than cores would wait for each other.
test: $(READY)
	@"$$PY" -m ruff check --quiet . && "$$PY" -m ruff format --quiet --check .
	@echo 'Pengujian dimulai dengan membuat laporan smoke (beberapa menit) …'
	@OMP_NUM_THREADS=1 CXR_THREADS=1 "$$PY" -m pytest -n 2 --dist worksteal $(PYTEST)

bench: $(READY)
	@"$$PY" -m bench
clean: ; @sh report/clean.sh
clean-runs: $(READY)
	@"$$PY" -c 'from cxr_helpers.training import CODE, runs; runs.stored(CODE.digest, clear=True)'
distclean: clean
	@rm -rf runs data .venv *.egg-info */__pycache__ */*/__pycache__ && echo 'Semua yang dibuat oleh make sudah dihapus.'
