package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
)

// leaves calls f for every command that does something.
func leaves(commands []*cli.Command, path []string, f func(command *cli.Command, path []string)) {
	for _, command := range commands {
		path := append(path[:len(path):len(path)], command.Name)
		if len(command.Subcommands) > 0 {
			leaves(command.Subcommands, path, f)
		} else {
			f(command, path)
		}
	}
}

// runArgs runs a command line in this process.
func runArgs(args ...string) (code int, stdout, stderr string) {
	var out, err strings.Builder
	code = run(append([]string{"ggufkit"}, args...), &out, &err)
	return code, out.String(), err.String()
}

func TestEveryCommandRefusesWrongUse(t *testing.T) {
	leaves(newApp(nil, nil).Commands, nil, func(command *cli.Command, path []string) {
		name := strings.Join(path, " ")
		if name == "help" || command.Hidden {
			return
		}
		wrong := map[string][]string{
			"an unknown flag":      {"--no-such-flag"},
			"a number of threads":  {"--threads", "-1"},
			"no number of threads": {"--threads", "many"},
			"a flag without value": {"--threads"},
			"too many arguments":   {"a", "b", "c", "d", "e", "f"},
		}
		if strings.HasPrefix(command.ArgsUsage, "MODEL") || strings.HasPrefix(command.ArgsUsage, "RECIPE") {
			wrong["no arguments"] = nil
		}
		if strings.HasSuffix(command.ArgsUsage, "...") {
			delete(wrong, "too many arguments")
		}
		for what, args := range wrong {
			t.Run(name+" with "+what, func(t *testing.T) {
				code, stdout, stderr := runArgs(append(path, args...)...)
				require.Equal(t, exitUsage, code, stderr)
				require.Empty(t, stdout)
				require.Contains(t, stderr, fmt.Sprintf("See 'ggufkit %s --help'.", name))
			})
		}
		for _, args := range [][]string{append([]string{"help"}, path...), append(path, "--help"), append(path, "-h"), append(path, "x", "--help")} {
			t.Run(strings.Join(args, " "), func(t *testing.T) {
				code, stdout, stderr := runArgs(args...)
				require.Equal(t, exitDone, code, stderr)
				require.Contains(t, stdout, "ggufkit "+name+" - ")
				require.Contains(t, stdout, "--threads")
			})
		}
	})
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args   string
		code   int
		output string // of standard output if the code is 0, of standard error if not
	}{
		{"", 0, "COMMANDS:"},
		{"help", 0, "COMMANDS:"},
		{"--help", 0, "COMMANDS:"},
		{"-h", 0, "COMMANDS:"},
		{"-q help", 0, "COMMANDS:"},
		{"help help", 0, "COMMANDS:"},
		{"moe", 0, "doctor"},
		{"help moe", 0, "doctor"},
		{"--version", 0, "ggufkit "},
		{"-v", 0, "ggufkit "},
		{"--json version", 0, `"isa"`},
		{"--threads 1 --json version", 0, `"isa"`},
		{"--threads=1 version -q", 0, "ggufkit "},
		{"perplexity", 2, "1 argument is needed (MODEL), none given"},
		{"quantize a b c d e", 2, "(MODEL OUT.gguf TYPE), 5 given"},
		{"version x", 2, "no arguments are needed, 1 given"},
		{"quantise a", 2, `Did you mean "quantize"?`},
		{"help quantise", 2, `Did you mean "quantize"?`},
		{"moe docter x", 2, `"docter" is not a command of moe. Did you mean "doctor"?`},
		{"moe docter x", 2, "See 'ggufkit moe --help'."},
		{"moe -q docter", 2, "doctor"},
		{"xyzzy", 2, "\"xyzzy\" is not a command\n"},
		{"--xyzzy inspect a", 2, "there is no flag --xyzzy\nSee 'ggufkit --help'."},
		{"--json", 2, "a command is needed"},
		{"inspect a --threds 2", 2, "Did you mean --threads?"},
		// What the peers call it.
		{"quantize -m a.gguf b.gguf Q8_0", 2, "-m: it is an argument here: ggufkit quantize MODEL"},
		{"perplexity --model a.gguf", 2, "ggufkit perplexity MODEL"},
		{"convert a --outfile b.gguf", 2, "ggufkit convert MODEL OUT.gguf"},
		{"convert a b.gguf --outtype q8_0", 2, "it is --type here"},
		{"convert a -o b.gguf", 2, "ggufkit convert MODEL OUT.gguf"},
		{"imatrix a --output-file b.gguf", 2, "it is --output here"},
		{"generate a --temperature 1", 2, "it is --temp here"},
		{"generate a --n-predict=1", 2, "it is --max-new-tokens here"},
		{"generate a -ngl 99", 2, "computed on the CPU"},
		{"perplexity a --ctx-size 1", 2, "it is --ctx here"},
		// Out of range.
		{"generate a --ctx 0", 2, "--ctx is 0"},
		{"drift a --ctx -5", 2, "--ctx is -5"},
		{"imatrix a --chunks -2", 2, "--chunks is -2"},
		{"choose a --fit 24", 2, "a unit is missing, as in 24G"},
		{"perplexity a -f b --memory 8", 2, "a unit is missing"},
		{"convert a b.gguf --split-max-size 4.5", 2, "a unit is missing"},
		{"convert a b.gguf --split-max-size 0G", 2, "not a size"},
	} {
		t.Run(test.args, func(t *testing.T) {
			code, stdout, stderr := runArgs(strings.Fields(test.args)...)
			require.Equal(t, test.code, code, stderr)
			if code == 0 {
				require.Contains(t, stdout, test.output)
				require.Empty(t, stderr)
			} else {
				require.Contains(t, stderr, test.output)
				require.Empty(t, stdout)
			}
		})
	}
}

func TestArrange(t *testing.T) {
	for args, want := range map[string]string{
		"inspect a":                           "inspect -- a",
		"inspect a --json b":                  "inspect --json -- a b",
		"--json inspect a":                    "inspect --json -- a",
		"-t 2 quantize --force a b":           "quantize -t 2 --force -- a b",
		"--threads=2 moe -q doctor a":         "moe doctor --threads=2 -q -- a",
		"inspect -- --json":                   "inspect -- --json",
		"inspect - --json":                    "inspect --json -- -",
		"perplexity --chunks -1 a -f inspect": "perplexity --chunks -1 -f inspect -- a",
		"help moe doctor":                     "moe doctor --help",
		"help":                                "--help",
		"inspect help":                        "inspect -- help",
		"bogus --json":                        "bogus --json",
		"--json bogus a":                      "bogus a",
		"tokenize a -p":                       "tokenize -p -- a",
	} {
		got := arrange(newApp(nil, nil), append([]string{"ggufkit"}, strings.Fields(args)...))
		require.Equal(t, "ggufkit "+want, strings.Join(got, " "))
	}
}
