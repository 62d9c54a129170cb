# `make bundel OUT=../tugas`: what `make tugas` hands out, with its packages (the lock's for a CPU, checked by their hashes) and the
# phantom, in one archive for no network. On a like machine `make setup` in its folder cxr/ installs from cxr/wheels/ alone.
# $1: the Python that fetches.
set -e
fail() {
  echo "Galat: $1" >&2
  exit 2
}

[ -n "$OUT" ] && [ -d "$OUT/mahasiswa" ] && [ -d "$OUT/pengajar" ] ||
  fail "OUT=$OUT: jalankan dahulu \`make tugas OUT=../tugas\`, lalu ulangi."
like=$("$1" -c 'import platform as p; print(f"{p.system()}-{p.machine()}-py{p.python_version_tuple()[0]}{p.python_version_tuple()[1]}".lower())')
archive="$OUT/bundel-$like.tar"

echo 'Mengunduh paket (sekitar 3 GB) …'
awk -f report/cpu.awk "$OUT/mahasiswa/requirements.txt" > "$OUT/.lock"
"$1" -m pip download --no-deps --require-hashes --only-binary :all: --quiet -r "$OUT/.lock" --dest "$OUT/wheels" ||
  fail 'paket tidak dapat diunduh: periksa jaringan dan ruang disk (5 GB), lalu ulangi; yang ada dipakai.'
"$1" -c 'import pathlib, sys, phantom; phantom.ensure(pathlib.Path(sys.argv[1]))' "$OUT/mahasiswa/data"

# Wheels are compressed already; the archive appears whole or not at all.
rm -f "$OUT/.lock"
tar -C "$OUT" --transform 's|^mahasiswa|cxr|' --transform 's|^wheels|cxr/wheels|' -cf "$archive.part" \
  --exclude mahasiswa/wheels --exclude mahasiswa/.venv --exclude mahasiswa/build --exclude mahasiswa/runs --exclude mahasiswa/kumpulan \
  mahasiswa wheels || fail "$archive tidak dapat ditulis: periksa ruang disk, lalu ulangi."
mv "$archive.part" "$archive"
echo "$archive ($(du -h "$archive" | cut -f1)): di komputer lab \`tar xf\`, \`cd cxr\`, lalu \`make setup\`."
