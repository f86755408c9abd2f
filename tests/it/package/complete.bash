# Prints what bash would complete each line with: complete.bash LINE...
source <(isoplan completions bash)
for line; do
    # Cut as readline cuts it: at blanks, and at each of its word breaks.
    COMP_LINE=$line COMP_POINT=${#line} COMP_WORDS=() COMPREPLY=()
    rest=$line
    while [[ -n $rest ]]; do
        if [[ $rest =~ ^[[:blank:]]+ ]]; then
            rest=${rest:${#BASH_REMATCH[0]}}
            [[ -n $rest ]] || COMP_WORDS+=("")
        elif [[ $rest =~ ^[:=@]+ || $rest =~ ^\'[^\']*\'? || $rest =~ ^[^[:blank:]:=@]+ ]]; then
            COMP_WORDS+=("${BASH_REMATCH[0]}")
            rest=${rest:${#BASH_REMATCH[0]}}
        fi
    done
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _isoplan
    ((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}"
    printf -- '-- %s\n' "$line"
done
