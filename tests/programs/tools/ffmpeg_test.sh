#!/usr/bin/env bash
# ffmpeg makes a film with sound, four threads at work, and the same pictures of it inside as outside.
# Usage: ffmpeg_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
needs ffmpeg
quiet=(-nostdin -loglevel error -bitexact)
ffmpeg "${quiet[@]}" -f lavfi -i testsrc=size=320x240:rate=25:duration=2 -f lavfi -i sine=duration=2 -c:v mpeg4 -c:a aac film.mkv
build --program "$(command -v ffmpeg)" --copy film.mkv:/app/film.mkv --heap 1G --threads 64 -o ffmpeg.enclave
both 0 ffmpeg.enclave ffmpeg "${quiet[@]}" -threads 4 -i "$work/film.mkv" -vf scale=160:-1,hue=s=0 -f rawvideo -pix_fmt gray -
[ "$(stat -c %s inside.out)" -ge $((50 * 160 * 120)) ] || fail "pictures of $(stat -c %s inside.out) bytes"
both 0 ffmpeg.enclave ffmpeg "${quiet[@]}" -threads 4 -i "$work/film.mkv" -c:v libx264 -preset fast -threads 4 -c:a flac -f framehash -
finish
