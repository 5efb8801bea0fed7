# shellcheck shell=bash
# What the image must not have, whatever package would bring it: nobody logs in, and nothing is made there. Part of firmware/build.

readonly login_units="getty@.service serial-getty@.service console-getty.service container-getty@.service autovt@.service debug-shell.service emergency.service rescue.service"

# forbidden_in ROOTFS: a line for each thing that is there and must not be.
forbidden_in() {
  local rootfs=$1
  forbidden_programs "$rootfs"
  forbidden_units "$rootfs"
  usable_passwords "$rootfs"
}

# By their names, in whatever folder of programs: who lets in, and what compiles. ld.so is the loader of programs, and stays.
forbidden_programs() {
  local lets_in='sshd|dropbear|(in\.)?telnetd|in\.r(sh|login)d'
  local makes='cc1?|cc1plus|c\+\+|c[89]9|tcc|make|ld\.(bfd|gold|lld)|([^/]*-)?(gcc|g\+\+|cpp|as|ld|clang)(-[0-9][^/]*)?'
  find "$1" -xdev -regextype posix-extended -type f,l -perm /111 -regex ".*/(s?bin|lib|libexec)/(.*/)?($lets_in|$makes)" -printf 'a program: /%P\n'
}

# Units that wait for somebody at a console, by their names or by what they start, and any of SSH: each has to be masked.
forbidden_units() {
  local rootfs=$1 folder folders=() file unit
  for folder in "$rootfs"/{etc,usr/lib,lib}/systemd/system; do
    [[ ! -d $folder ]] || folders+=("$folder")
  done
  {
    for unit in $login_units ssh.service ssh.socket sshd.service ssh@.service; do
      find "${folders[@]}" -name "$unit"
    done
    grep -lrE '^ExecStart=.*(agetty|sulogin|/bin/login|/(ba|da)?sh *$)' "${folders[@]}" --include='*.service' || (($? == 1))
  } | while read -r file; do basename "$file"; done | sort -u | while read -r unit; do
    [[ $(readlink "$rootfs/etc/systemd/system/$unit") == /dev/null ]] || printf 'a unit that is not masked: %s\n' "$unit"
  done
}

# An empty field lets anybody in; one that begins with "!" or "*" fits no password.
usable_passwords() {
  local file
  for file in "$1"/etc/{shadow,passwd}; do
    [[ -e $file ]] || continue
    awk -F : -v file="/etc/${file##*/}" '$2 !~ /^[!*]/ && !(file == "/etc/passwd" && $2 == "x") { print "a password in " file ": " $1 }' "$file"
  done
}
