package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

// TestCommandLine: what a report says was typed has no secrets of addresses.
func TestCommandLine(t *testing.T) {
	c := &call{line: []string{"/usr/bin/ggufkit", "drift", "https://user:secret@host/m.gguf?X-Amz-Signature=secret", "hf://org/name@v1", "-f", "a text?.txt"}}
	require.Equal(t, "ggufkit drift https://host/m.gguf hf://org/name@v1 -f 'a text?.txt'", c.commandLine())
}

// TestProvenance measures twice, and gets the same report but for the time that it took.
func TestProvenance(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	moe := reference.MoE(t)
	dir := t.TempDir()
	text := filepath.Join("..", "..", "testdata", "texts", "math.txt")
	matrix := filepath.Join("..", "..", "quant", "imatrix", "testdata", "moe.imatrix")
	measure := func(model string) (p struct{ Provenance report.Provenance }, page []byte) {
		t.Helper()
		var out bytes.Buffer
		html := filepath.Join(dir, "page.html")
		args := []string{"ggufkit", "drift", model, "-f", text, "--ctx", "64", "--chunks", "1", "--types", "Q4_K_M", "--imatrix", matrix, "--html", html,
			"--force", "--json", "--quiet"}
		require.Equal(t, exitDone, run(args, &out, os.Stderr))
		require.NoError(t, json.Unmarshal(out.Bytes(), &p))
		page, err := os.ReadFile(html)
		require.NoError(t, err)
		return p, page
	}
	p, page := measure(moe)
	_, again := measure(moe)
	require.Equal(t, string(page), string(again))
	require.Equal(t, "2023-11-14T22:13:20Z", p.Provenance.Date.Format("2006-01-02T15:04:05Z07:00"))
	require.Equal(t, "llama", p.Provenance.Model.Architecture)
	require.Equal(t, "ggufkit drift", p.Provenance.Command[:13])
	require.Empty(t, p.Provenance.Model.FileSHA256, "a checkpoint is not one file")

	// Of several files the tensors are hashed, of one the file.
	var hashes bytes.Buffer
	require.Equal(t, exitDone, run([]string{"ggufkit", "hash", moe, "--json", "--quiet"}, &hashes, io.Discard))
	var hashed hashReport
	require.NoError(t, json.Unmarshal(hashes.Bytes(), &hashed))
	require.Equal(t, hashed.DataSHA256, p.Provenance.Model.DataSHA256)

	file := filepath.Join(dir, "moe.gguf")
	require.Equal(t, exitDone, run([]string{"ggufkit", "convert", moe, file, "--quiet"}, io.Discard, os.Stderr))
	hashes.Reset()
	require.Equal(t, exitDone, run([]string{"ggufkit", "hash", file, "--json", "--quiet"}, &hashes, io.Discard))
	require.NoError(t, json.Unmarshal(hashes.Bytes(), &hashed))
	p, _ = measure(file)
	require.Equal(t, hashed.FileSHA256, p.Provenance.Model.FileSHA256)
	require.Empty(t, p.Provenance.Model.DataSHA256)
	require.Len(t, p.Provenance.Imatrix.SHA256, 64)
}

func TestShellWord(t *testing.T) {
	for word, quoted := range map[string]string{"-f": "-f", "a/b.txt": "a/b.txt", "two words": "'two words'", "it's": `'it'\''s'`, "": "''",
		"$HOME": "'$HOME'"} {
		require.Equal(t, quoted, shellWord(word))
	}
}
