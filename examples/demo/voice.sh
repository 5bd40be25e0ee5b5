# How the demo speaks. A chapter has a heading, a sentence says what is done and why, and a command is shown as it is run,
# with its own output. A command that ends otherwise than it must ends the demo.

prose=112 wide=118
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' command_colour=$'\e[36m' refusal_colour=$'\e[31m' plain=$'\e[0m'
else
    bold='' command_colour='' refusal_colour='' plain=''
fi

chapters=0
chapter() {
    chapters=$((chapters + 1))
    if [ -n "${STEP:-}" ] && [ $chapters -gt 1 ]; then
        read -r -p $'\n[Enter] goes on ' </dev/tty
    fi
    printf '\n%s%d. %s%s\n' "$bold" $chapters "$1" "$plain"
}

# say SENTENCE…: prose, wrapped.
say() { printf '\n%s\n' "$*" | fold -s -w $prose | sed 's/ *$//'; }

# fail WHAT: ends the demo. stage.sh tells where the logs are.
fail() {
    printf '\n%sThe demo failed: %s%s\n' "$bold" "$*" "$plain"
    exit 1
}

# show COMMAND: prints the line as one would type it, runs it, and prints what it says. Sets code and output.
show() {
    local line colour=$plain
    printf '\n  %s$ %s%s\n' "$command_colour" "${1//$'\n'/$'\n  '}" "$plain"
    code=0
    output=$(eval "$1" 2>&1) || code=$?
    [ $code = 0 ] || colour=$refusal_colour
    # Helm tells at length that charts/domicile/crds is a link.
    [[ $output != level=INFO*'symbolic link'* ]] || output=${output#*$'\n'}
    [ -n "$output" ] || return 0
    # Tables are as wide as they are made here; sentences of the API server are longer.
    fold -s -w $wide <<<"$output" | while IFS= read -r line; do printf '  %s%s%s\n' "$colour" "${line%"${line##*[! ]}"}" "$plain"; done
}

# run COMMAND: it must succeed.
run() {
    show "$1"
    [ $code = 0 ] || fail "the last command should have succeeded, and exited with $code."
}

# refused RULE COMMAND: the API server must refuse it, by this rule of Domicile's.
refused() {
    show "$2"
    [ $code != 0 ] || fail "the last command should have been refused by [domicile/$1], and was accepted."
    [[ $output == *"[domicile/$1]"* ]] || fail "the last command should have been refused by [domicile/$1], and failed for another reason."
}

# answers CODE TEXT COMMAND: it must exit with CODE and say TEXT.
answers() {
    show "$3"
    [ $code = "$1" ] && [[ $output == *"$2"* ]] || fail "the last command should have said \"$2\"."
}

# quietly WHAT COMMAND…: a preparation that is no part of the story.
quietly() {
    local what=$1 output
    shift
    output=$("$@" 2>&1) || fail "$what: $output"
}

# await SECONDS WHAT COMMAND…: asks until the command succeeds, for things that no `kubectl wait` can watch.
await() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "$what: not after the time it may take."
        sleep 0.2
    done
}
