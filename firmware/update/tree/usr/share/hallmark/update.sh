# shellcheck shell=sh
# What the steps of an update share.

kernels=/efi/EFI/Linux

reason=/run/hallmark/update.reason

# RAUC keeps its handlers' output to itself. A stranger's stick may have words of its own in it, for a terminal to obey.
say() {
  printf 'hallmark: update: %s\n' "$(printf '%s' "$*" | LC_ALL=C tr -cd ' -~')" >/dev/console
}

# For RAUC's handlers: ends the installation. Who asked for it says why.
refuse() {
  printf '%s\n' "$1" >$reason
  exit 1
}

running_version() {
  sed -n 's/^IMAGE_VERSION=//p' /usr/lib/os-release
}

# Of a kernel image, from where its stub and systemd-boot have it too: both sections are plain text under its signature.
kernel_version() {
  grep -aoE -m 1 '^IMAGE_VERSION=[0-9][0-9A-Za-z.~]*$' "$1" | cut -d= -f2
}
kernel_root_hash() {
  grep -aoE -m 1 'roothash=[0-9a-f]{64} ' "$1" | cut -c 10-73
}
