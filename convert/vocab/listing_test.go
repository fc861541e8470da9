package vocab_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// listed counts how often a folder is listed.
type listed struct {
	files.Folder
	times int
}

func (l *listed) List(below string) ([]string, error) {
	l.times++
	return l.Folder.List(below)
}

// TestFolderIsListedOnce: that takes a request or more of a store.
func TestFolderIsListedOnce(t *testing.T) {
	folder := &listed{Folder: files.Directory(t.TempDir())}
	_, err := vocab.LoadFrom(folder, vocab.Options{Size: 10})
	require.ErrorContains(t, err, "no tokenizer")
	require.Equal(t, 1, folder.times)
}
