# Completions of isoplan for bash. `isoplan completions bash` prints this.

_isoplan() {
    local rest=${COMP_LINE:0:COMP_POINT} words=() word blank i last
    # Bash cuts words at ":", "=" and "@", which names have: what has no blank before it goes on with the word before.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        blank=${rest%%[![:blank:]]*}
        rest=${rest:${#blank}}
        word=${COMP_WORDS[i]}
        [[ $i -lt $COMP_CWORD ]] || word=$rest
        if [[ $i -eq 0 || -n $blank ]]; then
            words+=("$word")
        else
            words[${#words[@]} - 1]+=$word
        fi
        rest=${rest:${#word}}
    done
    last=$((${#words[@]} - 1))
    local quoted=""
    [[ ${words[last]} != [\"\']* ]] || quoted=${words[last]:0:1}
    for ((i = 0; i <= last; i++)); do
        word=${words[i]}
        case $word in
        \"*) word=${word#\"} word=${word%\"} ;;
        \'*) word=${word#\'} word=${word%\'} ;;
        *) word=${word//\\/} ;;
        esac
        words[i]=$word
    done

    # What bash puts the answer in place of begins behind the last cut.
    local current=${words[last]} breaks=${COMP_WORDBREAKS//[!:=@]/} before=""
    [[ -n $quoted || -z $breaks ]] || before=${current%"${current##*[$breaks]}"}

    local line kind text file ending open=""
    COMPREPLY=()
    while IFS= read -r line; do
        kind=${line:0:1} line=${line:1} text=${line%%$'\t'*}
        if [[ $kind == / ]]; then
            compopt -o filenames 2>/dev/null
            line=${line#*$'\t'}
            while IFS= read -r file; do
                file=$text$file
                COMPREPLY+=("${file#"$before"}")
            done < <(
                file=${current#"$text"}
                case $line in
                "") compgen -f -- "$file" ;;
                /) compgen -d -- "$file" ;;
                *)
                    for ending in $line; do compgen -f -X "!*.$ending" -- "$file"; done
                    compgen -d -- "$file"
                    ;;
                esac | sort -u
            )
        elif [[ $text == "$current"* ]]; then
            open=$kind
            COMPREPLY+=("${text#"$before"}")
        fi
    done < <(PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin isoplan complete-stage -- "${words[@]}" 2>/dev/null)
    [[ ${#COMPREPLY[@]} -ne 1 || $open != + ]] || compopt -o nospace 2>/dev/null
}

complete -F _isoplan isoplan
