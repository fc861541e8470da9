package report

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestModels: the documentation has what the program prints (-update writes it), every family
// has a name, and what is said to be checked is checked.
func TestModels(t *testing.T) {
	const page = "../../docs/models.md"
	report := NewModels()
	updateBlock(t, page, "models", report.Markdown())

	// Those without data here are compared in convert/hf and infer, on larger models.
	elsewhere := strings.Fields("llama qwen2 qwen3 qwen2moe qwen3moe deepseek gemma2")
	converted := architectures(t, "../../convert/arch/testdata/families.json.gz", func(kv json.RawMessage) (name string) {
		var pairs [][2]json.RawMessage
		require.NoError(t, json.Unmarshal(kv, &pairs))
		for _, pair := range pairs {
			key := strings.Trim(string(pair[0]), `"`)
			if prefix, _, _ := strings.Cut(key, "."); prefix != "general" && prefix != "tokenizer" && prefix != "xielu" {
				return prefix
			}
		}
		return name
	})
	run := architectures(t, "../testdata/families.json.gz", func(kv json.RawMessage) string {
		var keys struct {
			Name string `json:"general.architecture"`
		}
		require.NoError(t, json.Unmarshal(kv, &keys))
		return keys.Name
	})
	var unchecked []string
	for _, m := range report.Models {
		require.NotEmpty(t, m.Family, m.Classes)
		for _, check := range m.Checked {
			recorded := map[string][]string{checkedBytes: converted, checkedLogits: run}[check]
			if !slices.Contains(append(recorded, elsewhere...), m.Architecture) {
				unchecked = append(unchecked, m.Architecture+": "+check)
			}
		}
	}
	require.Empty(t, unchecked)
}

// architectures returns those of the models of a file of families: of a list of them, or of
// one after the other.
func architectures(t *testing.T, path string, name func(kv json.RawMessage) string) (names []string) {
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	data, err := gzip.NewReader(file)
	require.NoError(t, err)
	type family struct{ KV json.RawMessage }
	for decoder := json.NewDecoder(data); ; {
		var next json.RawMessage
		err := decoder.Decode(&next)
		if errors.Is(err, io.EOF) {
			return slices.Compact(names)
		}
		require.NoError(t, err)
		var all []family
		if next[0] != '[' {
			next = slices.Concat([]byte{'['}, next, []byte{']'})
		}
		require.NoError(t, json.Unmarshal(next, &all))
		for _, f := range all {
			names = append(names, name(f.KV))
		}
	}
}

// updateBlock compares what the program prints with a page of the documentation, or writes
// it there.
func updateBlock(t *testing.T, page, command, markdown string) {
	content, err := os.ReadFile(page)
	require.NoError(t, err)
	begin, end := "<!-- ggufkit "+command+" -->\n", "<!-- end -->\n"
	before, rest, found := strings.Cut(string(content), begin)
	require.True(t, found)
	_, after, found := strings.Cut(rest, end)
	require.True(t, found)
	want := before + begin + markdown + end + after
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(want), 0o666))
	} else {
		require.Equal(t, want, string(content), "go test ./infer/report -run TestModels -update")
	}
}
