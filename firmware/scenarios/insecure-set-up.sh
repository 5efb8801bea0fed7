# shellcheck shell=bash disable=SC2034,SC2154 # firmware/test's, which runs this
# A fresh disk in a firmware without Secure Boot: no state is made, and the console says why.

# A box of its own, in a folder of its own.
scenario() {
  needs_secure_boot || return 0
  local here=$here/insecure-set-up
  local set_up=$here/set-up
  make_set_up
  make_stick
  make_disk_of "${disk_images[0]}"
  without_keys
  start_machine insecure-set-up tpm insecure
  refuses insecure-set-up "hallmark: Secure Boot is off: switch it on" "a set-up without Secure Boot"
  ! grep -aq "making the state partition" "$console" || fail "it makes a state all the same" "see $console"
  read_disk 0 "$esp_offset" "$here/table"
  has_partition tree-b || fail "the disk's table of partitions cannot be read" "see $here/table"
  ! has_partition state || fail "there is a state partition" "see $here/table"
}

# has_partition NAME: the table has it in UTF-16.
has_partition() {
  grep -aqF "hallmark-$1" <(tr -d '\0' <"$here/table")
}
