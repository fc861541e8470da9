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

	// Those without data here are compared in convert/hf and infer, on larger models: files by class, logits by architecture.
	recorded := map[string][]string{
		checkedBytes: strings.Fields("LlamaForCausalLM MistralForCausalLM MixtralForCausalLM Qwen2ForCausalLM Qwen3ForCausalLM Qwen2MoeForCausalLM " +
			"Qwen3MoeForCausalLM DeepseekForCausalLM Gemma2ForCausalLM"),
		checkedLogits: strings.Fields("llama qwen2 qwen3 qwen2moe qwen3moe deepseek gemma2"),
	}
	for _, f := range families(t, "../../convert/arch/testdata/families.json.gz") {
		var config struct {
			Classes []string `json:"architectures"`
		}
		require.NoError(t, json.Unmarshal([]byte(f.Config), &config))
		recorded[checkedBytes] = append(recorded[checkedBytes], config.Classes...)
	}
	for _, f := range families(t, "../testdata/families.json.gz") {
		var keys struct {
			Name string `json:"general.architecture"`
		}
		require.NoError(t, json.Unmarshal(f.KV, &keys))
		recorded[checkedLogits] = append(recorded[checkedLogits], keys.Name)
	}
	var unchecked []string
	for _, m := range report.Models {
		require.NotEmpty(t, m.Family, m.Classes)
		for _, check := range m.Checked {
			is := append(slices.Clone(m.Classes), m.Architecture)
			if !slices.ContainsFunc(recorded[check], func(name string) bool { return slices.Contains(is, name) }) {
				unchecked = append(unchecked, m.Family+": "+check)
			}
		}
	}
	require.Empty(t, unchecked)
}

// family is a small model of a file of them.
type family struct {
	Config string
	KV     json.RawMessage
}

// families returns the models of a file: of a list of them, or of one after the other.
func families(t *testing.T, path string) (all []family) {
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	data, err := gzip.NewReader(file)
	require.NoError(t, err)
	for decoder := json.NewDecoder(data); ; {
		var next json.RawMessage
		err := decoder.Decode(&next)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		var some []family
		if next[0] != '[' {
			next = slices.Concat([]byte{'['}, next, []byte{']'})
		}
		require.NoError(t, json.Unmarshal(next, &some))
		all = append(all, some...)
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
