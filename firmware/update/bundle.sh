# shellcheck shell=bash
# An update: what is in a slot and its kernel image, in one file under the signature of the update key. Part of firmware/build.

# make_bundle TARGET KEYS VERSION: TARGET/hallmark_VERSION.raucb. Its images are compressed already. RAUC gives it a random salt
# and the time it is signed, so it is not the same twice; what is in it is.
make_bundle() {
  local target=$1 keys=$2 version=$3 content=$1/bundle
  rm -rf "$content" "$target/hallmark_$version.raucb"
  mkdir "$content"
  cp --reflink=auto "$target/root.squashfs" "$content/root.img"
  cp "$target/root.verity" "$content/tree.img"
  cp "$target/hallmark_$version.efi" "$content/kernel.efi"
  cat >"$content/manifest.raucm" <<TEXT
[update]
compatible=hallmark
version=$version

[bundle]
format=verity

[image.root]
filename=root.img

[image.tree]
filename=tree.img
TEXT
  rauc --cert="$keys/update.crt" --key="$keys/update.key" --mksquashfs-args="-noI -noD -noF -noX" \
    bundle "$content" "$target/hallmark_$version.raucb" >"$target/rauc.log" 2>&1 || fail "rauc failed" "see $target/rauc.log"
  rm -rf "$content"
}
