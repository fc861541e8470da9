package results

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
)

// noted is a place in a directory, and what it was told to note.
func noted(dir string, part Part, facts ...gguf.Fact) (*Place, *[]string) {
	notes := new([]string)
	return &Place{Storage: Directory(dir), Part: part, Facts: facts, Note: func(s string) { *notes = append(*notes, s) }}, notes
}

func dataOf(unit int) []byte { return []byte(strings.Repeat(fmt.Sprint("unit ", unit, ". "), unit%7)) }

// do does what is missing, and returns how much that was.
func do(t *testing.T, p *Place, units int) int {
	t.Helper()
	s, err := p.Open(t.Context(), "test", units)
	require.NoError(t, err)
	missing := s.Missing()
	for _, n := range missing {
		require.NoError(t, s.Keep(Record{n, dataOf(n), Cost{Took: []time.Duration{time.Second}, Read: 5}}))
	}
	require.NoError(t, s.Close())
	return len(missing)
}

// complete checks that all is there, and what it is.
func complete(t *testing.T, p *Place, units int) {
	t.Helper()
	s, err := p.Open(t.Context(), "test", units)
	require.NoError(t, err)
	defer s.Close()
	require.Empty(t, s.Missing())
	require.NoError(t, s.Finish())
	for n := range units {
		data, cost, err := s.Get(n)
		require.NoError(t, err)
		require.Equal(t, string(dataOf(n)), string(data))
		require.Equal(t, Cost{[]time.Duration{time.Second}, 5}, cost)
	}
}

// A run is continued, and what it depends on is part of it.
func TestContinued(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "below", "kept")
	p, notes := noted(dir, Part{}, gguf.Fact{What: "model", Is: "a"})
	s, err := p.Open(t.Context(), "test", 10)
	require.NoError(t, err)
	require.NoDirExists(t, dir, "nothing was kept")
	for _, n := range []int{3, 1} {
		require.NoError(t, s.Keep(Record{n, dataOf(n), Cost{[]time.Duration{time.Second}, 5}}))
	}
	require.EqualError(t, s.Finish(), dir+" has 2 of 10 units of this run; missing are 8 of part 1/1. Run these parts again, or all that is missing as --part 1/1")
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Keep(Record{}), fs.ErrClosed)
	require.Equal(t, 8, do(t, p, 10))
	complete(t, p, 10)
	require.Empty(t, *notes)

	other, notes := noted(dir, Part{}, gguf.Fact{What: "model", Is: "b"})
	require.Equal(t, 10, do(t, other, 10))
	require.Equal(t, []string{dir + " has results of another run, which are left alone: model: it was a, now it is b (files: 2)"}, *notes)
	complete(t, p, 10)
	longer, notes := noted(dir, Part{}, gguf.Fact{What: "model", Is: "a"})
	_, err = longer.Open(t.Context(), "test", 11)
	require.NoError(t, err)
	require.Contains(t, strings.Join(*notes, "\n"), "it has 10 units, now there are 11")
}

// Parts do what is theirs, and the run as a whole says what is missing.
func TestParts(t *testing.T) {
	dir := t.TempDir()
	whole, _ := noted(dir, Part{})
	for i, units := range []int{0, 3, 2} { // of 10, each fourth from i on
		if i == 0 {
			continue
		}
		p, _ := noted(dir, Part{i + 1, 4})
		require.Equal(t, units, do(t, p, 10))
		require.Zero(t, do(t, p, 10))
		s, err := p.Open(t.Context(), "test", 10)
		require.NoError(t, err)
		partial := (*Partial)(nil)
		require.ErrorAs(t, s.Finish(), &partial)
		require.True(t, partial.Done())
		require.Equal(t, units, partial.Units)
	}
	s, err := whole.Open(t.Context(), "test", 10)
	require.NoError(t, err)
	require.Empty(t, s.Missing(), "the run was divided")
	partial := (*Partial)(nil)
	require.ErrorAs(t, s.Finish(), &partial)
	require.False(t, partial.Done())
	require.Equal(t, []Missing{{Part{1, 4}, 3}, {Part{4, 4}, 2}}, partial.Missing)
	require.Contains(t, partial.Error(), "5 of 10 units of this run; missing are 3 of part 1/4, 2 of part 4/4.")

	all, _ := noted(dir, Part{1, 1})
	require.Equal(t, 5, do(t, all, 10))
	complete(t, whole, 10)
}

// What is damaged is noticed, and nothing else is lost by it.
func TestDamaged(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"cut off":        func(b []byte) []byte { return b[:len(b)-1] },
		"cut in a head":  func(b []byte) []byte { return b[:len(b)-len(dataOf(9))-50] },
		"a bit":          func(b []byte) []byte { b[len(b)/2] ^= 4; return b },
		"the title":      func(b []byte) []byte { b[120] ^= 4; return b },
		"zeros behind":   func(b []byte) []byte { return append(b[:len(b)-1], make([]byte, 5000)...) },
		"nothing":        func([]byte) []byte { return nil },
		"something else": func([]byte) []byte { return []byte("gkr1gkr1gkr1" + strings.Repeat("gkr1", 100)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p, notes := noted(dir, Part{})
			require.Equal(t, 10, do(t, p, 10))
			names, err := p.Storage.List(".")
			require.NoError(t, err)
			path := filepath.Join(dir, names[0])
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, damage(data), 0o666))
			again := do(t, p, 10)
			switch name {
			case "nothing", "something else":
				require.Equal(t, 10, again)
			case "the title":
				require.Zero(t, again)
			default:
				require.Equal(t, 1, again)
			}
			if name != "nothing" {
				require.Contains(t, strings.Join(*notes, "\n"), "bytes are of no whole record")
			}
			complete(t, p, 10)
		})
	}
}

// Two that say the same count once; if they contradict each other, the unit is done again.
func TestDoubled(t *testing.T) {
	p, notes := noted(t.TempDir(), Part{})
	var stores []*Store
	for range 3 {
		s, err := p.Open(t.Context(), "test", 1)
		require.NoError(t, err)
		stores = append(stores, s)
	}
	right := Record{0, dataOf(8), Cost{}}
	for range 2 {
		require.NoError(t, stores[0].Keep(right))
	}
	require.NoError(t, stores[1].Keep(right))
	s, err := p.Open(t.Context(), "test", 1)
	require.NoError(t, err)
	require.Empty(t, s.Missing())
	require.Empty(t, *notes)

	require.NoError(t, stores[2].Keep(Record{0, []byte("wrong"), Cost{}}))
	s, err = p.Open(t.Context(), "test", 1)
	require.NoError(t, err)
	require.Equal(t, []int{0}, s.Missing())
	require.Len(t, *notes, 1)
	require.Contains(t, (*notes)[0], "contradict each other, which are done again: 1")
	_, _, err = s.Get(0)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, s.Keep(right))
	require.NoError(t, s.Finish())
	s, err = p.Open(t.Context(), "test", 1)
	require.NoError(t, err)
	require.NoError(t, s.Finish())
	data, _, err := s.Get(0)
	require.NoError(t, err)
	require.Equal(t, right.Data, data)
}

// After an error of the disk nothing more is kept in the file, whose end may be torn.
func TestFullDisk(t *testing.T) {
	full := errors.New("no space")
	memory := &memory{}
	p := &Place{Storage: memory}
	s, err := p.Open(t.Context(), "test", 3)
	require.NoError(t, err)
	require.NoError(t, s.Keep(Record{Unit: 0}))
	memory.append = func(b []byte) ([]byte, error) { return b[:len(b)/2], full }
	require.ErrorIs(t, s.Keep(Record{Unit: 1}), full)
	memory.append = nil
	require.ErrorIs(t, s.Keep(Record{Unit: 2}), full)
	s, err = p.Open(t.Context(), "test", 3)
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, s.Missing())
}

func TestParsePart(t *testing.T) {
	for _, c := range []struct {
		s    string
		env  map[string]string
		want Part
	}{
		{"2/4", nil, Part{2, 4}},
		{"1/1", nil, Part{1, 1}},
		{"0/4", nil, Part{}},
		{"5/4", nil, Part{}},
		{"2", nil, Part{}},
		{"2/", nil, Part{}},
		{"x/4", nil, Part{}},
		{"1/99999999", nil, Part{}},
		{"auto", nil, Part{}},
		{"auto", map[string]string{"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "4"}, Part{4, 4}},
		{"auto", map[string]string{
			"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_STEP": "2", "SLURM_ARRAY_TASK_COUNT": "4",
		}, Part{3, 4}},
		{"auto", map[string]string{"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "4"}, Part{}},
		{"auto", map[string]string{"SLURM_ARRAY_TASK_ID": "1"}, Part{}},
		{"auto/4", map[string]string{"JOB_COMPLETION_INDEX": "0"}, Part{1, 4}},
		{"auto", map[string]string{"JOB_COMPLETION_INDEX": "0"}, Part{}},
		{"auto/4", map[string]string{"JOB_COMPLETION_INDEX": "4"}, Part{}},
		{"auto", map[string]string{"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, Part{2, 2}},
		{"auto", map[string]string{"PMI_RANK": "0", "PMI_SIZE": "2"}, Part{1, 2}},
		{"auto/3", map[string]string{"PMI_RANK": "0", "PMI_SIZE": "2"}, Part{}},
		{"auto", map[string]string{"PMI_RANK": "x", "PMI_SIZE": "2"}, Part{}},
	} {
		got, err := ParsePart(c.s, func(name string) string { return c.env[name] })
		if c.want == (Part{}) {
			require.ErrorIs(t, err, ErrPart, "%s %v", c.s, c.env)
		} else {
			require.NoError(t, err, "%s %v", c.s, c.env)
			require.Equal(t, c.want, got)
		}
	}
}

func TestLocate(t *testing.T) {
	_, err := Locate("hf://org/name", nil)
	require.ErrorIs(t, err, gguf.ErrUnsupported)
	_, err = Locate("store_test.go", nil)
	require.ErrorContains(t, err, "no directory")
	_, err = Locate(t.TempDir(), nil)
	require.NoError(t, err)
}
