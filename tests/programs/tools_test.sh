#!/usr/bin/env bash
# Programs that compute much with several threads: compressors, and ImageMagick on a picture. Their results are checked
# outside. What is not installed is skipped by name.
# Usage: tools_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/support.sh"
export OMP_NUM_THREADS=4
inside() { timeout 300 "$cloister" run "${options[@]}" "$@" </dev/null; }

{ seq 1 300000 && head -c 2000000 /dev/urandom; } >input
for tool in 'zstd -T4 -q' 'xz -T2 -1' 'gzip -6' 'bzip2 -2'; do
  read -ra words <<<"$tool"
  has "${words[0]}" "${words[0]}" || continue
  build --program "$(command -v "${words[0]}")" --copy input:/input --heap 512M --threads 12 -o tool.enclave
  inside tool.enclave "${words[@]:1}" -c /input >packed || fail "$tool: ends with $?"
  "${words[0]}" -dc packed | cmp - input || fail "$tool: what was packed inside is not the input"
  "${words[@]}" -c input >input.packed
  build --program "$(command -v "${words[0]}")" --copy input.packed:/packed --heap 512M --threads 12 -o tool.enclave
  inside tool.enclave -dc /packed | cmp - input || fail "$tool: what was unpacked inside is not the input"
done

magick=/usr/bin/convert-im6.q16
if has ImageMagick "$magick"; then
  coders=(/usr/lib/x86_64-linux-gnu/ImageMagick-6.*/modules-Q16/coders)
  "$magick" -size 640x480 -seed 7 plasma:red-blue picture.png
  # Its coders are loaded with dlopen, so what they need is copied along with them.
  needed=()
  for library in $(ldd "${coders[0]}/png.so" "${coders[0]}/jpeg.so" | awk '$3 ~ /^\// {print $3}' | sort -u); do
    needed+=(--copy "$(realpath "$library"):/usr/lib/x86_64-linux-gnu/$(basename "$library")")
  done
  build --program "$magick" --copy "${coders[0]}:${coders[0]}" --copy /etc/ImageMagick-6:/etc/ImageMagick-6 \
    --copy picture.png:/picture.png "${needed[@]}" --heap 512M --threads 12 -o magick.enclave
  words=(-resize 50% -blur 0x2 -rotate 30 -depth 8 rgb:-)
  "$magick" picture.png "${words[@]}" >native.rgb
  inside magick.enclave /picture.png "${words[@]}" >inside.rgb || fail "ImageMagick ends with $?"
  cmp native.rgb inside.rgb || fail 'ImageMagick makes another picture inside'
  [ "$(stat -c %s native.rgb)" -gt 100000 ] || fail 'the picture is too small to have been made'
fi

finish tools: "${ran[*]}" as outside
