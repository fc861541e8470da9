package hf

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNames compares with what gguf-py of llama.cpp 0.7.0 makes of names and
// parameter counts: testdata/names.json has lines of [name, parameters, [full
// name as title, organization as title, basename, finetune, version, size
// label]] and of [parameters, experts, size label].
func TestNames(t *testing.T) {
	data, err := os.ReadFile("testdata/names.json")
	require.NoError(t, err)
	var want struct {
		Names  [][]any `json:"names"`
		Labels [][]any `json:"labels"`
	}
	require.NoError(t, json.Unmarshal(data, &want))
	for _, line := range want.Names {
		id, params := line[0].(string), int64(line[1].(float64))
		m := parseModelName(id, params)
		got := []any{title(m.full), title(m.organization), m.basename, m.finetune, m.version, m.sizeLabel}
		require.Equal(t, line[2], got, "%s with %d parameters", id, params)
	}
	for _, line := range want.Labels {
		require.Equal(t, line[2], sizeLabel(int64(line[0].(float64)), int64(line[1].(float64))), fmt.Sprint(line))
	}
}
