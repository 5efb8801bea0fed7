# shellcheck shell=bash disable=SC2154 # firmware/test's, which runs this
# A kernel image that the keys did not sign does not run.

scenario() {
  needs_secure_boot || return 0
  box_as_kept
  put_kernel "$images/unsigned.efi"
  start_machine unsigned
  refuses unsigned "Access [Dd]enied" "an unsigned kernel image"
}
