package eval

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
)

var anySet = DataSet{Folder: "some/set", Hub: "org/set", Configuration: "main"}

func dataDir(t *testing.T, files map[string][]byte) *Data {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a [b]*") // no pattern
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "some/set"), 0o777))
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "some/set", name), content, 0o666))
	}
	return &Data{Dir: dir}
}

// TestDataInAllFormats has the same rows in each.
func TestDataInAllFormats(t *testing.T) {
	const one, two = `{"q":"one","choices":{"text":["a","b"]},"n":1}`, `{"q":"zwei","choices":{"text":["c"]},"n":2}`
	type row struct {
		Q       string `json:"q" parquet:"q"`
		Choices struct {
			Text []string `json:"text" parquet:"text,list"`
		} `json:"choices" parquet:"choices"`
		N int64 `json:"n" parquet:"n"`
	}
	rows := make([]row, 2)
	for i, text := range []string{one, two} {
		require.NoError(t, json.Unmarshal([]byte(text), &rows[i]))
	}
	lines := []byte(one + "\n\n" + two) // without a newline at the end
	var zipped, squeezed, columns bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err := z.Write(lines)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	s, err := zstd.NewWriter(&squeezed)
	require.NoError(t, err)
	_, err = s.Write(lines)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, parquet.Write(&columns, rows))
	for name, files := range map[string]map[string][]byte{
		"jsonl":   {"test.jsonl": lines},
		"gzip":    {"test.jsonl.gz": zipped.Bytes()},
		"zstd":    {"test.jsonl.zst": squeezed.Bytes()},
		"json":    {"test.json": []byte("[" + one + "," + two + "]")},
		"parquet": {"test.parquet": columns.Bytes()},
		"parts":   {"test-00001-of-00002.jsonl": []byte(two), "test-00000-of-00002.jsonl": []byte(one + "\n"), "test.jsonl.txt": nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := dataDir(t, files)
			got, err := d.rows(anySet, "test")
			require.NoError(t, err)
			require.Len(t, got, 2)
			for i, raw := range got {
				var r row
				require.NoError(t, json.Unmarshal(raw, &r))
				require.Equal(t, rows[i], r)
			}
			for file, sum := range d.Files {
				require.Contains(t, file, "some/set/test")
				require.Len(t, sum, 64)
			}
			require.NotEmpty(t, d.Files)
		})
	}
}

func TestDataThatIsNotThere(t *testing.T) {
	_, err := dataDir(t, map[string][]byte{"train.jsonl": nil}).rows(anySet, "test")
	require.ErrorIs(t, err, ErrNoData)
	require.ErrorContains(t, err, "test.jsonl")
	require.ErrorContains(t, err, "split test, configuration main of the hub's data set org/set")
	_, err = (&Data{Dir: t.TempDir()}).file(DataSet{Folder: "bigbench", File: "x.json", Hub: "google/BIG-bench"})
	require.ErrorIs(t, err, ErrNoData)
}

func TestBadData(t *testing.T) {
	_, err := dataDir(t, map[string][]byte{"test.jsonl": []byte("{}\n{\n")}).rows(anySet, "test")
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	require.ErrorContains(t, err, "test.jsonl: ")
	require.ErrorContains(t, err, "line 2")
	for _, name := range []string{"test.jsonl.gz", "test.jsonl.zst", "test.json", "test.parquet"} {
		_, err := dataDir(t, map[string][]byte{name: []byte("nothing of the kind")}).rows(anySet, "test")
		require.ErrorContains(t, err, name)
	}
}

// FuzzRender demands an error, not a panic, of rows of any content.
func FuzzRender(f *testing.F) {
	var tasks []*Task
	for _, p := range Profiles {
		tasks = append(tasks, p.Tasks()...)
	}
	for _, row := range []string{
		`{"question":"q","choices":{"text":["a"],"label":["A"]},"answerKey":"A"}`, `{"sentence":"a _ b","option1":"x","option2":"y","answer":"3"}`,
		`{"question":"q","choices":["a","b"],"answer":9}`, `{"query":"q","choices":[],"gold":[7]}`, `{"page":""}`, `{"label":"-1","endings":null}`,
		`{"examples":[{"input":"i","target_scores":{"a":1,"b":0},"target":[]}]}`, `{"mc1_targets":{"choices":["a"],"labels":[1,0]},"mc2_targets":{}}`, `null`, `[]`,
	} {
		for i := range tasks {
			f.Add(uint16(i), []byte(row))
		}
	}
	f.Fuzz(func(t *testing.T, number uint16, row []byte) {
		task := tasks[int(number)%len(tasks)]
		render, rows := task.render, []json.RawMessage{row}
		if task.open != nil {
			var err error
			if rows, render, err = task.open(row); err != nil {
				return
			}
		}
		for _, r := range rows {
			e, err := examine(render, r)
			if err != nil {
				continue
			}
			d := &document{task: task, example: e}
			require.NoError(t, d.ask(t.Context(), nil, Prompts{}))
			o := &outcome{likelihoods: make([]float64, max(1, len(e.choices)))}
			for _, m := range task.Metrics {
				m.of(e, o)
			}
		}
	})
}

// FuzzData reads files of data in each of the formats: rows are JSON, or there is an error that names the file.
func FuzzData(f *testing.F) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err := z.Write([]byte("{}\n[1]\n"))
	require.NoError(f, errors.Join(err, z.Close()))
	squeezer, err := zstd.NewWriter(nil)
	require.NoError(f, err)
	for i, content := range [][]byte{[]byte("{}\n\n[1]\nnull"), zipped.Bytes(), squeezer.EncodeAll([]byte("{}\n"), nil), []byte("[{}, 1]"), parquetFile(f)} {
		f.Add(uint8(i), content)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, number uint8, content []byte) {
		path := filepath.Join(dir, "test"+formats[int(number)%len(formats)].suffix)
		require.NoError(t, os.WriteFile(path, content, 0o666))
		rows, err := (&Data{Dir: dir}).named([]string{path}, "test")
		if err != nil {
			require.ErrorContains(t, err, path)
			return
		}
		for _, row := range rows {
			require.True(t, json.Valid(row))
		}
	})
}

// FuzzLines reads files of answers of any content.
func FuzzLines(f *testing.F) {
	facts := []gguf.Fact{{What: "models", Is: "m"}}
	text, err := json.Marshal(facts)
	require.NoError(f, err)
	header := fmt.Sprintf(`{"ggufkit_eval_answers":2,"run":"%x"}`+"\n", sha256.Sum256(text))
	f.Add([]byte(header + `{"task":"t","doc":1,"answers":[[{"ll":-1}]]}` + "\n" + `{"task":`))
	f.Add([]byte("something else"))
	f.Add([]byte(header + "{}\n[]\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "kept")
		require.NoError(t, os.WriteFile(path, content, 0o666))
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		defer file.Close()
		l := &Lines{File: file}
		if l.open(facts) != nil {
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, content, after, "what is not understood stays")
			return
		}
		a := &asked{document: &document{task: &Task{Name: "t"}, number: 2}, answers: [][]Answer{{{Log: -2}}}}
		require.NoError(t, l.keep(a))
		again := &Lines{File: file}
		require.NoError(t, again.open(facts))
		require.Contains(t, again.documents, lineKey{"t", 2})
	})
}

// FuzzKept reads kept answers of any content.
func FuzzKept(f *testing.F) {
	f.Add([]byte(`[[{"ll":-1.5,"greedy":true},{"text":"/w==","tokens":3}],[{},{}]]`))
	f.Add([]byte(`[[{}],[]]`))
	f.Add([]byte("[[{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a := &asked{document: &document{requests: make([]request, 2)}, answers: [][]Answer{make([]Answer, 2), make([]Answer, 2)}}
		if a.read(data) == nil {
			require.Len(t, a.answers, 2)
			require.Len(t, a.answers[1], 2)
		}
	})
}
