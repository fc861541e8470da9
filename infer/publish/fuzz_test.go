package publish

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever a record says, its names lead nowhere out of the directory.
func FuzzRecords(f *testing.F) {
	for _, seed := range []string{
		`{"version": 1, "files": {"m-Q8_0.gguf": {"sha256": "ab", "before": "cd", "of": [{"what": "model", "is": "a"}]}}}`,
		`{"version": 1, "files": {"../x": {}}}`, `{"version": 1, "files": {"..": {}}}`, `{"version": 1, "files": {"C:x": {}, "a\\b": {}}}`, `{"version": 2}`, `{"version": 1, "files": null}`, `[`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		made, err := parseRecords(data)
		if err != nil {
			return
		}
		require.NotNil(t, made)
		for name := range made {
			require.Equal(t, "dir", filepath.Dir((&Folder{dir: "dir"}).Path(name)))
		}
	})
}
