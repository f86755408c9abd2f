# Types each line into an interactive zsh with its own completion system, presses TAB, and prints what could come,
# what became of the line, and the line: complete.zsh sourced|installed LINE...
zmodload zsh/zpty
way=$1
shift
here=${0:A:h}
unsetopt multibyte
zpty typed "exec zsh -f -i"
# Until the end mark is printed, which the typed command has in another form.
wait_for() { local said; zpty -r typed said $'*\x02*' || { print -r -- "zsh ended: $said" >&2; exit 1 } }
zpty -w typed "source ${(q)here}/complete-inner.zsh $way; print -n '\\x02'"
wait_for
for line; do
    zpty -w -n typed $'\x15'$line$'\t'
    wait_for
    cat .answer
    print -r -- "-- $line"
done
zpty -d typed
