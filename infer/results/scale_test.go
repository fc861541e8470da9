package results

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// memory is a Storage whose writes may fail half way.
type memory struct {
	files  map[string][]byte
	append func(data []byte) (written []byte, err error) // nil: all is written
}

func (m *memory) Path(name string) string { return name }

func (m *memory) List(string) ([]string, error) { return slices.Sorted(maps.Keys(m.files)), nil }

func (m *memory) Open(name string) (*files.File, error) {
	data, ok := m.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return files.NewFile(name, object{bytes.NewReader(data)}), nil
}

func (m *memory) Create(name string) (Log, error) {
	if _, ok := m.files[name]; ok {
		return nil, fs.ErrExist
	}
	if m.files == nil {
		m.files = make(map[string][]byte)
	}
	m.files[name] = nil
	return memoryLog{m, name}, nil
}

type memoryLog struct {
	of   *memory
	name string
}

func (l memoryLog) Append(data []byte) (err error) {
	if l.of.append != nil {
		data, err = l.of.append(data)
	}
	l.of.files[l.name] = append(l.of.files[l.name], data...)
	return err
}

func (memoryLog) Close() error { return nil }

type object struct{ *bytes.Reader }

func (object) Close() error          { return nil }
func (object) Version() string       { return "" }
func (object) Unchanged() error      { return nil }
func (object) Prefetch(int64, int64) {}

// 500 workers share 10,000 units. They are killed while they write, started again while the one before is still at work, and Disks lose bits,
// ends of files, and files, and one of the machines computes wrongly what others have done. In the end each unit is there, once, and right.
func TestScale(t *testing.T) {
	const units, workers = 10_000, 500
	random := rand.New(rand.NewPCG(16, 1))
	killed := errors.New("killed")
	store := &memory{}
	of := func(unit int) []byte {
		data := binary.LittleEndian.AppendUint64(nil, uint64(unit)*0x9E3779B97F4A7C15)
		return bytes.Repeat(data, 1+unit%5)
	}
	type worker struct {
		part  Part
		store *Store
		todo  []int
	}
	start := func(part Part) *worker {
		s, err := (&Place{Storage: store, Part: part}).Open(t.Context(), "scale", units)
		require.NoError(t, err)
		return &worker{part, s, s.Missing()}
	}
	var running []*worker
	for i := range workers {
		running = append(running, start(Part{i + 1, workers}))
	}
	var kills, torn, twice, wrong, lost, computed int
	for len(running) > 0 {
		i := random.IntN(len(running))
		w := running[i]
		stop := func() { running = append(running[:i], running[i+1:]...) }
		if len(w.todo) == 0 {
			stop()
			continue
		}
		n := min(len(w.todo), 1+random.IntN(3)) // units that are done together
		var records []Record
		for _, unit := range w.todo[:n] {
			records = append(records, Record{Unit: unit, Data: of(unit)})
		}
		w.todo = w.todo[n:]
		store.append = nil
		if random.IntN(20) == 0 { // it is killed meanwhile
			kills++
			store.append = func(b []byte) ([]byte, error) {
				written := slices.Clone(b[:random.IntN(len(b)+1)])
				if random.IntN(4) == 0 { // the length is on the disk, the bytes are not
					written = append(written, make([]byte, random.IntN(4096))...)
				}
				if len(written) > 0 {
					torn++
				}
				return written, killed
			}
			require.ErrorIs(t, w.store.Keep(records...), killed)
			stop()
			running = append(running, start(w.part))
			continue
		}
		require.NoError(t, w.store.Keep(records...))
		computed += n
		if random.IntN(50) == 0 { // the scheduler takes it for dead
			twice++
			running = append(running, start(w.part))
		}
	}
	store.append = nil
	names := slices.Sorted(maps.Keys(store.files))
	for range 40 {
		name := names[random.IntN(len(names))]
		data := store.files[name]
		switch {
		case len(data) == 0:
		case lost%3 == 0:
			data[random.IntN(len(data))] ^= 1 << random.IntN(8)
		case lost%3 == 1:
			store.files[name] = data[:random.IntN(len(data))]
		default:
			delete(store.files, name)
		}
		lost++
	}

	s, err := (&Place{Storage: store}).Open(t.Context(), "scale", units)
	require.NoError(t, err)
	for range 50 {
		unit := random.IntN(units)
		if !s.has(unit) {
			continue
		}
		wrong++
		other := start(Part{unit%workers + 1, workers})
		require.NoError(t, other.store.Keep(Record{Unit: unit, Data: append(of(unit), 1)}))
	}

	// What is missing now is known, and of which parts.
	s, err = (&Place{Storage: store}).Open(t.Context(), "scale", units)
	require.NoError(t, err)
	partial := (*Partial)(nil)
	require.ErrorAs(t, s.Finish(), &partial)
	missing := 0
	for _, m := range partial.Missing {
		missing += m.Units
	}
	require.Equal(t, units, partial.Units)
	require.Empty(t, s.Missing(), "only the parts do anything")
	t.Logf("kills %d, torn %d, started twice %d, computed wrongly %d, damaged %d; units computed %d, missing then %d",
		kills, torn, twice, wrong, lost, computed, missing)
	require.Positive(t, missing)
	require.Greater(t, computed, units)

	last := start(Part{1, 1})
	require.Len(t, last.todo, missing)
	for _, unit := range last.todo {
		require.NoError(t, last.store.Keep(Record{Unit: unit, Data: of(unit)}))
	}
	s, err = (&Place{Storage: store}).Open(t.Context(), "scale", units)
	require.NoError(t, err)
	require.NoError(t, s.Finish())
	for unit := range units {
		data, _, err := s.Get(unit)
		require.NoError(t, err)
		require.Equal(t, of(unit), data, unit)
	}
}
