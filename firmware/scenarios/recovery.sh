# shellcheck shell=bash disable=SC2154 # firmware/test's, which runs this
# Another TPM, and a recovery key: the same keys and ledger again.

scenario() {
  box_as_kept
  mcopy -n -o -i "$here/stick.img" ::/recovery.cms "$here/recovery.cms" || fail "the first boot left no recovery.cms on the stick" "see $here/first.console"
  openssl cms -decrypt -in "$here/recovery.cms" -inform PEM -inkey "$set_up/secrets/backup.key" -out "$here/recovery" ||
    fail "the officer cannot open recovery.cms" "see the lines above"
  mcopy -o -i "$here/stick.img" "$here/recovery" ::/recovery

  start_machine recovery other-tpm
  wait_for "hallmark: the state is open by its recovery key" "$boot_seconds"
  wait_for "hallmark: recovered" "$boot_seconds"
  printf 'recovered after %d s\n' $((SECONDS - started))
  signs_as_before recovery
  ledger_verifies
  stop_machine

  # The key that was seen is of no use any more, and the stick is not needed.
  mcopy -n -o -i "$here/stick.img" ::/recovery.cms "$here/recovery-2.cms"
  ! cmp -s "$here/recovery.cms" "$here/recovery-2.cms" || fail "there is no new recovery.cms on the stick" "see $console"
  mdel -i "$here/stick.img" ::/recovery
  start_machine recovered other-tpm
  signs_as_before recovered
  stop_machine
  old_key_is_refused
}

# On a third TPM, with the file that was used.
old_key_is_refused() {
  mcopy -o -i "$here/stick.img" "$here/recovery" ::/recovery
  rm -rf "$here/third-tpm"
  start_machine old-recovery third-tpm
  refuses old-recovery "hallmark: the file recovery on the stick is not for this state" "a recovery key that was used"
}
