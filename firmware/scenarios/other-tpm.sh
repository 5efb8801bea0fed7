# shellcheck shell=bash disable=SC2154 # firmware/test's, which runs this
# Another TPM: the state does not open, and the console says so.

scenario() {
  box_as_kept
  start_machine other-tpm other-tpm
  refuses other-tpm "hallmark: the state partition does not open" "another TPM"
}
