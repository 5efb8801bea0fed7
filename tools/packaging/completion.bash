# bash completion for Hallmark's programs. What there is to complete is asked of the program itself (--help), so that it is
# always what this version takes. Nothing but a command's own name and --help is ever run.

_hallmark() {
  local program=$1 current=$2 previous=$3
  local help commands word head option value
  local -a path=()

  COMPREPLY=()
  help=$("$program" --help 2>/dev/null </dev/null) || return 0
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    commands=$(_hallmark_commands <<<"$help")
    [[ -n $commands && $'\n'$commands$'\n' == *$'\n'"$word"$'\n'* ]] || continue
    path+=("$word")
    help=$("$program" "${path[@]}" --help 2>/dev/null </dev/null) || return 0
  done

  # The value of an option that takes one: named in capitals, or by its default.
  if [[ $previous == --?* ]] && head=$(grep -E -m1 -- "^  (-[a-z], ?)?${previous}[ ,]" <<<"$help" 2>/dev/null); then
    option=${head#*"$previous"}
    if [[ $option =~ ^\ ([A-Z][^ ]*) ]]; then
      value=${BASH_REMATCH[1]}
      case $previous:$value in
        *:DIR*) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
        --output:FORMAT) mapfile -t COMPREPLY < <(compgen -W "table json" -- "$current") ;;
        *) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
      esac
      compopt -o filenames 2>/dev/null || true
      return 0
    fi
  fi

  commands=$(_hallmark_commands <<<"$help")
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_hallmark_options <<<"$help")" -- "$current")
  elif [[ -n $commands ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    compopt -o filenames 2>/dev/null || true
  fi
}

# The names in the section "Subcommands:" of a --help.
_hallmark_commands() {
  sed -n '/^Subcommands:/,/^$/s/^  \([a-z][a-z-]*\).*/\1/p'
}

# The long options in its section "Options:".
_hallmark_options() {
  sed -n '/^[Oo]ptions:/,/^$/p' | sed 's/ Excludes: .*//' | grep -E '^  -' | cut -c 1-40 | grep -oE -- '--[a-z][a-z-]*'
}

complete -F _hallmark dkimctl dkimload dkim-milter dkim-sign hallmark-health hallmark-provision ledger-verify signerd
