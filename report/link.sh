# The name by which make knows the folder BUILD: `sh report/link.sh FOLDER` in the project's root prints it.
# make takes a space, a quote, $, %, : and the like in a target for something else; such a folder it knows by a link.
case $1 in
  '') exit 2 ;;
  *[!A-Za-z0-9._/+,@~-]*) ;;
  *) printf '%s\n' "$1"; exit ;;
esac
mkdir -p -- "$1" 2>/dev/null && folder=$(CDPATH='' cd -- "$1" && pwd -P) || exit 2
place=.
[ -w . ] || place=${TMPDIR:-/tmp}
link=$place/.build-$(printf '%s' "$folder" | cksum | cut -d ' ' -f 1)
ln -sfn -- "$folder" "$link" && printf '%s\n' "${link#./}"
