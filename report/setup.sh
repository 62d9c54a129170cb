# Build .venv from the lock and mark it ready: `sh report/setup.sh` in the project's root. One line and exit 2 when it cannot be done.
# The first Python that is new enough builds it; uv installs the lock in half a minute, pip does the same slowly.
set -e
fail() {
  echo "Galat: $1" >&2
  exit 2
}

case $PWD in
  *:*) fail "letak folder ini memuat titik dua ($PWD), yang tidak dapat dipakai .venv: pindahkan, atau pakai PYTHON=…." ;;
esac
if [ "$(uname -sm)" = 'Darwin x86_64' ]; then
  fail 'PyTorch tidak lagi menyediakan paket untuk Mac Intel. Pakai Colab atau Kaggle (docs/pengaturan.md), atau komputer lain.'
fi

base=
for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do
  if $p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null; then
    base=$p
    break
  fi
done
[ -n "$base" ] || fail 'perlu Python 3.10 sampai 3.14. Pasang python3, lalu ulangi.'

if ! [ -x .venv/bin/pip ]; then
  rm -rf .venv
  if ! $base -m venv .venv >/dev/null 2>&1; then
    rm -rf .venv
    fail '.venv tidak dapat dibuat. Pasang paket python3-venv (Debian/Ubuntu: sudo apt install python3-venv), lalu ulangi.'
  fi
fi

# What `make bundel` made brings its packages along, without those for a GPU, and needs no network.
from=
if [ -d wheels ]; then
  from='--no-index --find-links wheels'
  CPU=1
fi
awk '/^uv==/ {on=1} on {print} on && !/\\$/ {exit}' requirements.txt > .venv/uv.txt
.venv/bin/pip install $from --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt || true
put() { .venv/bin/uv pip install $from --python .venv/bin/python --no-deps "$@"; }

# PyTorch's own index has builds without CUDA, of the lock's versions; not every network reaches it.
lock=requirements.txt own=
builds='--torch-backend=cpu --reinstall-package torch --reinstall-package torchvision -r .venv/torch.txt'
if [ "${CPU:-0}" != 0 ]; then
  grep -E '^torch(vision)?==' requirements.txt | tr -d '\\' > .venv/torch.txt
  if [ -z "$from" ] && (export UV_HTTP_RETRIES=0 UV_HTTP_TIMEOUT=15; put $builds --dry-run --quiet 2>/dev/null); then own=1; fi
  lock=.venv/cpu.txt
  awk -v own=$own -f report/cpu.awk requirements.txt > $lock
fi

again='Periksa jaringan dan ruang disk (6 GB), lalu ulangi make setup.'
if [ "$own" ]; then
  echo 'Memasang paket ke .venv, dengan PyTorch tanpa CUDA …'
  put $builds || fail "PyTorch untuk CPU tidak dapat dipasang. $again"
else
  echo "Memasang paket ke .venv (sekitar $([ $lock = requirements.txt ] && echo 6 || echo 5) GB) …"
fi
if ! put --require-hashes -r $lock; then
  echo 'uv tidak dapat dipakai; memasang dengan pip (lebih lama) …'
  .venv/bin/pip install $from --disable-pip-version-check --no-deps --require-hashes -r $lock ||
    fail "paket tidak dapat dipasang. $([ "$from" ] && echo 'Bundel itu untuk sistem, prosesor, atau Python lain (lihat nama berkasnya).' ||
      echo "$again")"
fi
.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
.venv/bin/python -m ipykernel install --sys-prefix --name python3 --display-name 'Python 3 (laporan CXR)' >/dev/null
touch .venv/.ready
