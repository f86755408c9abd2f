#compdef isoplan
# Completions of isoplan for zsh. `isoplan completions zsh` prints this.

_isoplan() {
    local -a lines whole open endings
    local line kind text help
    lines=(${(f)"$(PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin \
        isoplan complete-stage -- "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)"})
    for line in $lines; do
        kind=${line[1]} line=${line[2,-1]}
        text=${line%%$'\t'*} help=${line#*$'\t'}
        case $kind in
        ('='|'+')
            text=${text//:/\\:}
            [[ -z $help ]] || text="$text:$help"
            if [[ $kind == = ]]; then whole+=("$text"); else open+=("$text"); fi
            ;;
        (/)
            [[ -z $text ]] || compset -P "${(b)text}"
            endings=(${=help})
            if [[ $help == / ]]; then
                _files -/
            elif (( $#endings )); then
                _files -g "*.(${(j:|:)endings})(-.)"
            else
                _files
            fi
            ;;
        esac
    done
    (( ! $#whole )) || _describe -t isoplan isoplan whole
    (( ! $#open )) || _describe -t isoplan isoplan open -S ''
}

# Read from a directory of fpath, the file is the function, and this is its first call.
if [[ $funcstack[1] == _isoplan ]]; then
    _isoplan "$@"
else
    compdef _isoplan isoplan
fi
