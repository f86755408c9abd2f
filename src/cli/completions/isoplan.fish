# Completions of isoplan for fish. `isoplan completions fish` prints this.

function __isoplan_complete
    set -lx PATH $PATH /usr/local/sbin /usr/sbin /sbin
    set -l current (commandline -ct)
    for line in (isoplan complete-stage -- (commandline -opc) "$current" 2>/dev/null)
        set -l kind (string sub -l 1 -- $line)
        set -l rest (string sub -s 2 -- $line)
        if test "$kind" != /
            printf '%s\n' $rest
            continue
        end
        set -l parts (string split -m 1 \t -- $rest)
        set -l before $parts[1]
        set -l part (string sub -s (math 1 + (string length -- "$before")) -- "$current")
        for path in (complete -C "__isoplan_no_command $part" | string replace -r '\t.*' '')
            set -l is_wanted (string match -r '/$' -- $path)
            switch "$parts[2]"
                case ''
                    set is_wanted yes
                case /
                case '*'
                    for ending in (string split ' ' -- $parts[2])
                        set -a is_wanted (string match -r "\.$ending\$" -- $path)
                    end
            end
            test -z "$is_wanted"; or printf '%s%s\n' "$before" $path
        end
    end
end

complete --command isoplan --no-files --keep-order --arguments '(__isoplan_complete)'
