# shellcheck shell=bash disable=SC2154 # firmware/test's, which runs this
# One byte of the root changed: the box does not start.

scenario() {
  box_as_kept
  flip_byte
  start_machine flipped
  refuses flipped "dm-verity device corrupted\|is corrupted\|is not what this kernel was made for\|root partition is damaged" "a changed root"
}
