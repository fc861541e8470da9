package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestComplete(t *testing.T) {
	for _, test := range []struct {
		words string // the last one is what is typed
		want  string
	}{
		{"qu|", "quantize"},
		{"|", "bench card choose completion convert demo diff drift edit eval export generate hash help imatrix inspect join logits man merge models moe perplexity publish quantize split tokenize types verify version"},
		{"moe |", "doctor"},
		{"--threads 2 moe d|", "doctor"},
		{"completion |", "bash fish zsh"},
		{"quantize --pr|", "--prune-layers"},
		{"quantize a.gguf --no|", "--no-progress"},
		{"--f|", "--force"},
		{"quantize a.gguf iq4|", "IQ4_NL IQ4_XS"},
		{"quantize a.gguf b.gguf q8|", "Q8_0"},
		{"quantize |", ""}, // files
		{"convert --type q5_k|", "Q5_K_L Q5_K_M Q5_K_S"},
		{"convert --type = Q8|", "Q8_0"},
		{"drift a.gguf --compute |", "exact int8"},
		{"drift a.gguf -f |", ""},
		{"types tq|", "TQ1_0 TQ2_0"},
		{"bogus |", ""},
	} {
		words := strings.Split(strings.TrimSuffix(test.words, "|"), " ")
		code, stdout, stderr := runArgs(append([]string{"__complete"}, words...)...)
		require.Equal(t, exitDone, code, stderr)
		require.Equal(t, test.want, strings.Join(strings.Fields(stdout), " "), test.words)
	}
}

// TestCompletionInBash has bash complete words as it does when Tab is pressed.
func TestCompletionInBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil || runtime.GOOS == "windows" {
		t.Skip("there is no bash that knows the paths of this system")
	}
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, os.Symlink(self, filepath.Join(dir, "ggufkit"))) // which this program is when it is called so
	script := filepath.Join(dir, "script")
	require.NoError(t, os.WriteFile(script, []byte(`
source <(ggufkit completion bash)
complete -p ggufkit
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_ggufkit
printf '%s\n' "${COMPREPLY[@]}"
`), 0o666))
	for words, want := range map[string]string{
		"ggufkit moe doc":             "doctor",
		"ggufkit quantize a.gguf q4_": "Q4_0 Q4_1 Q4_K_L Q4_K_M Q4_K_S",
		"ggufkit drift --until":       "--until-separated",
		"ggufkit inspect a":           "",
	} {
		command := exec.Command(bash, append([]string{script}, strings.Fields(words)...)...)
		command.Env = append(os.Environ(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := command.CombinedOutput()
		require.NoError(t, err, "%s", out)
		registered, found, _ := strings.Cut(string(out), "\n")
		require.Contains(t, registered, "-F _ggufkit ggufkit")
		require.Equal(t, want, strings.Join(strings.Fields(found), " "))
	}
}
