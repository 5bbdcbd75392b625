#!/usr/bin/env bash
# ImageMagick, with four threads, makes the same picture of a picture inside as outside.
# Usage: imagemagick_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
export OMP_NUM_THREADS=4
magick=/usr/bin/convert-im6.q16
needs $magick
coders=(/usr/lib/x86_64-linux-gnu/ImageMagick-6.*/modules-Q16/coders)
"$magick" -size 640x480 -seed 7 plasma:red-blue picture.png
# Its coders are loaded with dlopen, so what they need is copied along with them.
copies_of "${coders[0]}"/{png,jpeg}.so
build --program "$magick" --copy "${coders[0]}:${coders[0]}" --copy /etc/ImageMagick-6:/etc/ImageMagick-6 \
  --copy picture.png:/picture.png "${copies[@]}" --heap 512M --threads 12 -o magick.enclave
words=(-resize 50% -blur 0x2 -rotate 30 -depth 8 rgb:-)
"$magick" picture.png "${words[@]}" >native.rgb
inside magick.enclave /picture.png "${words[@]}" >inside.rgb || fail "ImageMagick ends with $?"
cmp native.rgb inside.rgb || fail 'ImageMagick makes another picture inside'
[ "$(stat -c %s native.rgb)" -gt 100000 ] || fail 'the picture is too small to have been made'
finish
