# Delete what make has made in the folder BUILD (an environment variable), and nothing else: `sh report/clean.sh`.
said="Tidak ada hasil di $TYPED."
folder=$(CDPATH='' cd -- "${BUILD:-build}" 2>/dev/null && pwd -P) || folder=
if [ -n "$folder" ]; then
  if [ -e "$folder/cxr_helpers" ] || [ -e "$folder/.git" ]; then
    echo "Galat: BUILD=$TYPED adalah folder proyek, bukan folder hasil: tidak ada yang dihapus." >&2
    exit 2
  fi
  if [ -e "$folder/.begin" ] || [ -e "$folder/.environment" ] || [ -e "$folder/.settings" ]; then
    cd "$folder" || exit 2
    rm -rf notebooks results lab report gagal
    rm -f .settings .settings.old .cover .cover.old .environment .environment.old .sources .begin
    cd "$OLDPWD" || exit 2
    said="Hasil di $TYPED dihapus."
    if rmdir "$folder" 2>/dev/null; then
      for link in .build-* "${TMPDIR:-/tmp}"/.build-*; do if [ -L "$link" ] && ! [ -e "$link" ]; then rm -f "$link" 2>/dev/null; fi; done
    fi
  fi
fi
size=$(du -sh "${CXR_RUNS:-runs}" 2>/dev/null | cut -f 1)
echo "$said Pelatihan tersimpan di ${CXR_RUNS:-runs} tetap ada (${size:-0})."
