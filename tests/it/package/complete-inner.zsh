# Read by the zsh that complete.zsh types into.
PROMPT= RPROMPT=
stty -echo
zstyle ':completion:*' insert-tab false
autoload -Uz compinit
if [[ $1 == installed ]]; then
    # As the package installs it.
    mkdir -p .functions
    isoplan completions zsh >.functions/_isoplan
    fpath=($PWD/.functions $fpath)
    compinit -D -u
else
    compinit -D -u
    source <(isoplan completions zsh)
fi
# Every match that the completion system is given goes through this.
compadd() {
    # These only sort matches into arrays.
    if [[ ${@[1,(i)(-|--)]} == *-[a-zA-Z]#[OAD]* ]]; then
        builtin compadd "$@"
        return
    fi
    typeset -a hits
    builtin compadd -O hits "$@"
    print -rl -- $hits >>.answer
    builtin compadd "$@"
}
setopt extendedglob
complete_and_tell() {
    : >.answer
    zle complete-word
    print -r -- "=$BUFFER" >>.answer
    print -n '\x02'
}
zle -N complete_and_tell
bindkey '^I' complete_and_tell
bindkey '^U' kill-whole-line
