# shellcheck shell=bash disable=SC2154 # firmware/test's, which runs this
# What a bundle must be, tried with the image's own programs; needs no machine.

scenario() {
  rm -rf "$here/update-check"
  mkdir -p "$here/update-check"
  unshare --mount "$root/firmware/update/try-check" "$images" "$here/update-check" || fail "update-check decides wrongly" "see the lines above"
}
