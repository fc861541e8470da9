package eval_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/eval"
)

// TestResume ends runs after each number of documents, in the middle of a line, and goes on.
func TestResume(t *testing.T) {
	model := make(models).open(t, "base")
	p, s := selected(t, "lm-eval-0.4", "openbookqa", 0)
	run := func(kept *eval.Kept, limit float64) (*eval.Evaluation, error) {
		opts := eval.Options{MaxLength: 256, LogSamples: true, Kept: kept}
		opts.Limit = limit
		return p.Run(t.Context(), engines(model), model.vocab, s, &eval.Data{Dir: "testdata/data"}, opts)
	}
	want, err := run(nil, 3)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "answers")
	open := func(models string, restart bool) *eval.Kept {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		require.NoError(t, err)
		t.Cleanup(func() { file.Close() })
		return &eval.Kept{File: file, Models: models, Restart: restart}
	}
	got, err := run(open("m", false), 3)
	require.NoError(t, err)
	require.Equal(t, want, got)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 4, bytes.Count(whole, []byte("\n")))
	for _, cut := range []int{0, 10, len(whole) / 2, len(whole) - 1, len(whole)} {
		require.NoError(t, os.WriteFile(path, whole[:cut], 0o666))
		got, err := run(open("m", false), 3)
		require.NoError(t, err)
		require.Equal(t, want, got)
		again, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Len(t, again, len(whole))
	}

	for _, c := range []struct {
		models string
		limit  float64
	}{{"other", 3}, {"m", 2}} {
		_, err := run(open(c.models, false), c.limit)
		require.ErrorIs(t, err, eval.ErrOtherRun)
		require.ErrorContains(t, err, path)
	}
	_, err = run(open("m", true), 2)
	require.NoError(t, err, "from the start")
	require.NoError(t, os.WriteFile(path, []byte("a letter\n"), 0o666))
	_, err = run(open("m", true), 2)
	require.ErrorIs(t, err, gguf.ErrUnsupported)
	letter, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "a letter\n", string(letter))
	require.False(t, errors.Is(err, eval.ErrOtherRun))
}
