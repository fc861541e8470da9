package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
)

// No value of a flag is dropped without a word: every flag that has a value may be
// repeated, or refuses a second one, by whatever names.
func TestNoValueIsDropped(t *testing.T) {
	leaves(newApp(nil, nil).Commands, nil, func(command *cli.Command, path []string) {
		if command.Name == "help" {
			return
		}
		for _, flag := range command.Flags {
			if _, repeatable := flag.(*cli.GenericFlag); repeatable || !hasValue(flag) {
				continue
			}
			names := flag.Names()
			args := append([]string{}, path...)
			args = append(args, "--"+names[0], "1", "a", "-"+names[len(names)-1]+"=1")
			code, stdout, stderr := runArgs(args...)
			require.Equal(t, exitUsage, code, "%s: %s", args, stderr)
			require.Empty(t, stdout)
			require.Contains(t, stderr, "--"+names[0]+" is given twice")
			require.Contains(t, stderr, "See 'ggufkit "+strings.Join(path, " ")+" --help'.")
		}
	})
}

func TestFlagsOnce(t *testing.T) {
	for args, want := range map[string]string{
		"perplexity -f a --file b -c=5 -- m":   "perplexity --file a --file b --ctx=5 -- m",
		"perplexity -q -q --quiet -- -q":       "perplexity --quiet --quiet --quiet -- -q",
		"perplexity -f -f -- m":                "perplexity --file -f -- m",
		"moe doctor -t 2 -f a -- m -t 3":       "moe doctor --threads 2 --file a -- m -t 3",
		"perplexity --unknown --unknown -- -q": "perplexity --unknown --unknown -- -q",
		"bogus -t 1 -t 2":                      "bogus -t 1 -t 2",
		"tokenize -p":                          "tokenize --prompt",
	} {
		got, err := flagsOnce(newApp(nil, nil), append([]string{"ggufkit"}, strings.Fields(args)...))
		require.NoError(t, err)
		require.Equal(t, "ggufkit "+want, strings.Join(got, " "))
	}
}
