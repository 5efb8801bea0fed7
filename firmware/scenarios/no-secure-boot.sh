# shellcheck shell=bash disable=SC2154 # firmware/test's, which runs this
# A firmware without Secure Boot: the state does not open.

scenario() {
  needs_secure_boot || return 0
  box_as_kept
  without_keys
  start_machine insecure tpm insecure
  wait_for "hallmark: the state partition does not open" "$boot_seconds"
  # Nor is it recovered.
  refuses insecure "hallmark: Secure Boot is off: switch it on" "without Secure Boot"
  ! grep -aq "Secure Boot is enabled" "$console" || fail "Secure Boot was on" "see $console"
}
