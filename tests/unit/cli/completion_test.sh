#!/bin/bash
# Every command and option that --help names can be completed, and nothing else.
# usage: completion_test.sh TURNPIKE COMPLETION
turnpike=$1
source "$2"
_turnpike_names() { echo "name-of-$1"; }  # no daemon here
failures=0

complete_words() {
  COMP_WORDS=("$@")
  COMP_CWORD=$(($# - 1))
  COMPREPLY=()
  _turnpike
  printf '%s\n' "${COMPREPLY[@]}" | sort -u
}
same() {  # what, expected, got
  [[ $2 == "$3" ]] && return
  printf '%s:\nby --help:\n%s\nby completion:\n%s\n' "$1" "$2" "$3"
  failures=$((failures + 1))
}
commands_of() { "$turnpike" "$@" --help | sed -n '/^Subcommands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | sort -u; }
options_of() { "$turnpike" "$@" --help | sed -n 's/^  \(-h,\)\?\(--[a-z-]*\).*/\2/p' | grep -v help-all | sort -u; }

same commands "$(commands_of)" "$(complete_words turnpike '' | grep -v -e --)"
for command in peer ips; do
  same "$command" "$(commands_of $command)" "$(complete_words turnpike $command '' | grep -v -e --)"
done
for command in check diff reload show owner apply history rollback confirm watch top import export 'peer add' 'peer set' 'peer remove' 'ips claim' 'ips release' \
  'ips replace' 'ips move'; do
  same "options of $command" "$(options_of $command)" "$(complete_words turnpike $command --)"
  same "options of $command later" "$(options_of $command)" "$(complete_words turnpike $command x y z --)"
done
same tunnels name-of-tunnels "$(complete_words turnpike ips claim name-of-)"
same peers name-of-peers "$(complete_words turnpike ips claim wg0 name-of-)"
same from name-of-peers "$(complete_words turnpike ips move wg0 --from '')"
exit $((failures > 0))
